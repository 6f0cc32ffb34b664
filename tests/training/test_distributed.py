"""Two processes on this machine give what one gives with twice the batch; no orphans stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cadwright.training.checkpoint import list_checkpoints

RECIPE = Path(__file__).parents[2] / "recipes" / "smoke.yaml"
SETTINGS = """
threads=1 log_every=1 tensorboard=false hidden_size=32 num_layers=1 num_heads=2 intermediate_size=48
""".split()
MODULE = ["-m", "cadwright.training.sft", str(RECIPE), *SETTINGS]
ALONE = [sys.executable]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--config_file",
    str(RECIPE.parent / "accelerate" / "cpu.yaml"),
]  # fmt: skip
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a training in processes of their own, ended with the test at the latest."""
    started: list[subprocess.Popen[bytes]] = []

    def start_in(folder: Path, launcher: list[str], *changes: str) -> subprocess.Popen[bytes]:
        words = [*launcher, *MODULE, *changes, f"output_dir={folder}"]
        source = str(Path(__file__).parents[2] / "src")
        paths = os.pathsep.join([source, *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(words, env=environment, start_new_session=True))
        return started[-1]

    yield start_in
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def losses(folder: Path, key: str = "loss") -> list[float]:
    records = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [record[key] for record in records if key in record]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "final" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "parts"),
    [(TORCHRUN, 1), (TORCHRUN, 2), (ACCELERATE, 2)],
    ids=["torchrun", "torchrun, each draws its own", "accelerate launch"],
)
def test_two_processes_give_the_loss_of_one_with_twice_the_batch(
    tmp_path: Path, start: Start, launcher: list[str], parts: int
) -> None:
    changes = ["iterations=5", "eval_every=5", f"parts={parts}"]
    alone, pair = tmp_path / "alone", tmp_path / "pair"
    assert start(alone, ALONE, *changes, "batch_size=8").wait() == 0
    assert start(pair, launcher, *changes, "batch_size=4").wait() == 0
    assert losses(pair) == pytest.approx(losses(alone), rel=1e-4)
    assert losses(pair, "eval_loss") == pytest.approx(losses(alone, "eval_loss"), rel=1e-4)
    assert losses(pair, "samples") == losses(alone, "samples")
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(pair)[name], value, atol=2e-4, rtol=0)


@pytest.mark.slow
def test_killed_run_goes_on_as_if_never_stopped_and_its_workers_die_with_it(
    tmp_path: Path, start: Start
) -> None:
    """SIGKILL at no particular moment, the real generator, a worker process."""
    changes = ["workers=1", "save_every=1", "eval_every=0", "eval_programs=0", "iterations=8"]
    assert start(tmp_path / "whole", ALONE, *changes).wait() == 0
    killed = start(tmp_path / "killed", ALONE, *changes)
    while len(list_checkpoints(tmp_path / "killed")) < 2:
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert_empty_session(killed.pid)
    assert not (tmp_path / "killed" / "final").exists()
    assert start(tmp_path / "killed", ALONE, *changes).wait() == 0
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def assert_empty_session(session: int) -> None:
    """Every process that the killed one had started is gone, or on its way out."""
    if not Path("/proc").is_dir():
        return
    for _ in range(100):
        left = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # after the name in brackets: state, parent, group, session
                state, _, _, own = stat.read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue  # it ended while we looked
            if int(own) == session and state not in "ZX":
                left.append(stat.parent.name)
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"processes {left} outlived the trainer by 10 s")
