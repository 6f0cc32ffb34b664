"""Rewards: what they are, that all scorers agree, and that no program can stop a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.evaluation.protocol import ScoredTarget
from cadwright.geometry.frames import normalise, placement_to_program
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.metrics import Target, direct_protocol
from cadwright.inference.candidates import Scorer, read_candidates
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.training.rl.rewards import (
    CUT_OFF,
    Grade,
    RewardPool,
    mesh_to_scorer,
    text_to_grade,
)
from cadwright.types import Mesh, Outcome

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-50))\nr="
BRACKET = HEAD + (
    "w0.sketch().rect(200,120).push([(40,10)]).circle(25,mode='s').finalize().extrude(60)"
    ".union(w0.sketch().push([(-80,0)]).rect(40,120).finalize().extrude(100))"
)
PLATE = HEAD + "w0.sketch().rect(200,120).finalize().extrude(60)"
FAR = HEAD + "w0.sketch().push([(90,0)]).rect(10,10).finalize().extrude(500)"
CROSSED = HEAD + (
    "w0.sketch().segment((0,0),(50,50)).segment((50,0)).segment((0,50)).close().assemble()"
    ".finalize().extrude(20)"
)
FILLET = PLATE + ".fillet(3)"
BROKEN = HEAD + "w0.sketch("
TEXTS = [BRACKET, PLATE, FAR, CROSSED, FILLET, BROKEN]


def text_to_target(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return normalise(mesh, placement_to_program(mesh.bounds))


@pytest.fixture(scope="module")
def target() -> Mesh:
    return text_to_target(BRACKET)


@pytest.fixture(scope="module")
def pool() -> Iterator[RewardPool]:
    with RewardPool(1, timeout_s=60.0) as pool:
        yield pool


def hang_or_die(text: str, scorer: Scorer) -> Grade:
    if text == "hang":
        time.sleep(1000)
    if text == "die":
        os._exit(3)
    return text_to_grade(text, scorer)


def test_the_reward_is_ten_times_the_iou_or_minus_ten(target: Mesh) -> None:
    scorer = mesh_to_scorer(target)
    assert text_to_grade(BRACKET, scorer).reward == pytest.approx(10.0, abs=0.02)
    plate = text_to_grade(PLATE, scorer)
    assert 0 < plate.iou < 1 and plate.reward == 10 * plate.iou
    assert [text_to_grade(text, scorer).reward for text in TEXTS[3:]] == [-10.0] * 3
    assert CUT_OFF.reward == -10.0


def test_what_is_invalid_says_why(target: Mesh) -> None:
    scorer = mesh_to_scorer(target)
    outcomes = [text_to_grade(text, scorer).outcome for text in TEXTS[3:]]
    assert outcomes == [Outcome.INVALID, Outcome.UNSUPPORTED, Outcome.SYNTAX]


@pytest.mark.parametrize("text", [BRACKET, PLATE, FAR])
def test_reward_selection_and_evaluation_agree(text: str, target: Mesh) -> None:
    shape = Shape("target", target, None, "solid")
    built = program_to_mesh(text_to_program(text)).mesh
    assert built is not None
    iou = text_to_grade(text, mesh_to_scorer(target)).iou
    chosen, _ = read_candidates([text], Scorer(shape, seed=7))
    assert chosen[0].fit == iou
    assert Target(target, seed=3).direct_iou(built) == iou
    assert direct_protocol(target, built, seed=3).iou == iou
    evaluated = ScoredTarget(shape, seed=5, surface_iou=False)
    score = evaluated.score(built, protocols=("direct",), frame="program")["direct"]
    assert score.iou == pytest.approx(iou, abs=1e-6)  # evaluation's own bound: it takes a short cut


def test_what_selection_refuses_has_the_reward_of_an_invalid_program(target: Mesh) -> None:
    chosen, outcomes = read_candidates(TEXTS[3:], mesh_to_scorer(target))
    assert not chosen and sum(outcomes.values()) == 3


def test_another_kernel_can_be_compared(target: Mesh) -> None:
    scorer = mesh_to_scorer(target)
    other = text_to_grade(PLATE, scorer, build=lambda program: program_to_mesh(program))
    assert other == text_to_grade(PLATE, scorer)


def test_workers_grade_as_this_process_does(pool: RewardPool, target: Mesh) -> None:
    scorer = mesh_to_scorer(target)
    texts = [*TEXTS, PLATE, BROKEN]
    expected = [text_to_grade(text, scorer) for text in texts]
    assert pool.grade(target, texts) == expected
    with RewardPool(0) as here:
        assert here.grade(target, texts) == expected
    assert len(pool.worker_pids) == 1


def test_groups_of_different_targets_do_not_mix(pool: RewardPool, target: Mesh) -> None:
    blocks = [HEAD + f"w0.sketch().rect(200,{y}).finalize().extrude(100)" for y in (160, 80, 40)]
    futures = [pool.submit(text_to_target(block), blocks[:2]) for block in blocks]
    ious = [[grade.iou for grade in future.result()] for future in futures]
    assert np.allclose(ious, [[1.0, 0.5], [0.5, 1.0], [0.25, 0.5]], atol=1e-6)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_open_target_is_refused(num_workers: int, pool: RewardPool, target: Mesh) -> None:
    opened = Mesh(target.vertices, target.faces[1:])
    with pytest.raises(GeometryError, match="reward needs a solid"):
        (pool if num_workers else RewardPool(0)).grade(opened, [PLATE])


def test_a_worker_that_hangs_or_dies_costs_one_text(target: Mesh) -> None:
    texts = [PLATE, "hang", BROKEN, "die", BRACKET]
    with RewardPool(1, timeout_s=1.5, grade=hang_or_die) as pool:
        # The limit of the first text includes reading the target; its workers are warm then.
        grades = pool.grade(target, texts)
    outcomes = [grade.outcome for grade in grades]
    assert outcomes == [Outcome.OK, Outcome.TIMEOUT, Outcome.SYNTAX, Outcome.CRASH, Outcome.OK]
    assert grades[1].reward == grades[3].reward == -10.0
    assert grades[4].iou == pytest.approx(1.0, abs=0.01)


def test_closing_ends_the_workers(target: Mesh) -> None:
    pool = RewardPool(1)
    pool.grade(target, [PLATE])
    (pid,) = pool.worker_pids
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_start_without_torch() -> None:
    source = (
        "import sys, cadwright.training.rl.rewards, cadwright.training.rl.run; print(*sys.modules)"
    )
    root = Path(__file__).parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
    )
    assert not {"torch", "transformers", "OCP", "cadquery"} & set(done.stdout.split())


def test_bad_settings_are_refused() -> None:
    for settings in ({"num_workers": -1}, {"timeout_s": 0.0}, {"timeout_s": np.inf}):
        with pytest.raises(ValueError, match="num_workers"):
            RewardPool(**settings)
