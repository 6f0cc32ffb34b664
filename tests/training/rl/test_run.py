"""Runs of reinforcement learning on a toy reward: it rises, and a run resumes to the bit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.rl.toys import OnesPool, save_policy, tiny_rl

from cadwright.errors import CheckpointError, InputError
from cadwright.models import CADRecode
from cadwright.training.guard import TrainingError
from cadwright.training.rl import loop, state, update
from cadwright.training.rl.config import RLConfig
from cadwright.training.rl.run import train_rl
from cadwright.training.rl.update import lr_share

Make = Callable[..., RLConfig]


@pytest.fixture(scope="module")
def start(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(tmp_path_factory.mktemp("policy"), tokenizer)


@pytest.fixture
def make(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(state, "RewardPool", OnesPool)

    def tiny(name: str = "run", **changes: Any) -> RLConfig:
        return tiny_rl(tmp_path / name, start, **changes)

    return tiny


def read_log(config: RLConfig) -> list[dict[str, Any]]:
    lines = (Path(config.output_dir) / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_weights(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("algorithm", ["dr_cppo", "grpo"])
def test_the_reward_of_samples_rises(algorithm: str, make: Make) -> None:
    config = make(
        algorithm=algorithm, parts=4, samples=8, keep=4, iterations=16, rollout_parts=4,
        loss_parts=4, save_every=99, eval_every=16, lr=0.003, updates=3, max_new_tokens=16,
    )  # fmt: skip
    final = train_rl(config)
    log = read_log(config)
    rewards = [record["reward"] for record in log if "reward" in record]
    assert len(rewards) == 16
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.3
    assert final.name == "final"


def test_the_log_says_what_a_collapse_would_look_like(make: Make) -> None:
    config = make(iterations=1)
    train_rl(config)
    before, record, after = read_log(config)[:3]
    for name in (
        "reward", "iou", "invalid_share", "entropy", "length", "clip_share", "distinct_share",
        "cut_off_share", "kl_to_samples", "sketch_share", "grad_norm", "programs_per_s",
        "lively_share",
    ):  # fmt: skip
        assert isinstance(record[name], float), name
    assert record["logprob_gap"] < 1e-4  # sampling and learning see the same policy
    assert {
        "eval_iou",
        "eval_invalid_share",
        "eval_length",
        "eval_sketch_share",
    } <= before.keys() & after.keys()


def test_a_killed_run_goes_on_to_the_same_bits(make: Make) -> None:
    whole = make("whole")
    train_rl(whole)
    killed = make("killed")
    shutil.copytree(whole.output_dir, killed.output_dir)
    run = Path(killed.output_dir)
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoint-4")
    # What a kill in the middle of saving leaves: a draft, or a cut-off file in a copied folder.
    shutil.copytree(run / "checkpoint-3", run / ".drafts" / "checkpoint-4")
    with (run / "checkpoint-3" / "optimizer.pt").open("r+b") as file:
        file.truncate(100)
    train_rl(killed)
    for name in ("checkpoint-3", "checkpoint-4", "final"):
        assert same_weights(run / name, Path(whole.output_dir) / name), name
    timed = {"elapsed_s", "show_s", "roll_out_s", "learn_s", "programs_per_s", "eval_s"}
    logs = [
        [{k: v for k, v in record.items() if k not in timed} for record in read_log(config)]
        for config in (whole, killed)
    ]
    assert logs[0] == logs[1]


def test_the_hard_parts_are_kept_in_the_checkpoint(make: Make) -> None:
    config = make()
    train_rl(config)
    info = json.loads((Path(config.output_dir) / "checkpoint-4" / "trainer.json").read_text())
    (chooser,) = info["choosers"]
    assert chooser["asked"] < 2 * 4 and chooser["hard"]  # some parts of a step were hard ones
    assert info["progress"]["step"] == 4 and info["progress"]["programs"] == 4 * 2 * 4


def test_what_a_program_without_a_solid_is_worth_can_be_set(make: Make) -> None:
    rewards = []
    for worth in (-10.0, 0.0):
        config = make(f"w{worth}", invalid_reward=worth, max_new_tokens=2, iterations=1)
        train_rl(config)
        record = next(r for r in read_log(config) if "reward" in r)
        rewards.append(record["reward"] - 10 * record["iou"])
        assert record["invalid_share"] > 0  # cut off
    assert rewards[0] == pytest.approx(-10 * record["invalid_share"], abs=1e-4)
    assert rewards[1] == pytest.approx(0, abs=1e-4)


def test_another_setting_of_the_stream_is_refused(make: Make) -> None:
    train_rl(make(iterations=1))
    with pytest.raises(CheckpointError, match="samples=4, this run has samples=8"):
        train_rl(make(samples=8))
    with pytest.raises(InputError, match="already holds a run"):
        train_rl(make(resume=False))


def test_a_checkpoint_of_another_kind_of_run_is_refused(make: Make) -> None:
    config = make(iterations=1)
    train_rl(config)
    path = Path(config.output_dir) / "checkpoint-1" / "trainer.json"
    info = json.loads(path.read_text())
    del info["config"]["task"]
    path.write_text(json.dumps(info))
    with pytest.raises(CheckpointError, match="not of a reinforcement learning run"):
        train_rl(config)


def test_a_full_disk_is_reported_and_leaves_the_last_checkpoint(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(iterations=1)
    train_rl(config)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="checkpoint-2' cannot be written.*No space left"):
        train_rl(make(iterations=2))
    run = Path(config.output_dir)
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-1"]
    assert not list((run / ".drafts").iterdir())


def test_the_best_evaluation_becomes_final_and_the_start_counts(make: Make) -> None:
    config = make(lr=5.0, clip=0.0, iterations=2)  # a rate that ruins the model
    final = train_rl(config)
    evaluated = [r["eval_iou"] for r in read_log(config) if "eval_iou" in r]
    assert same_weights(final, Path(config.output_dir) / "best")
    last = Path(config.output_dir) / "checkpoint-2"
    assert same_weights(final, last) == (evaluated[-1] > evaluated[0])
    assert same_weights(final, Path(config.init_from)) == (evaluated[-1] <= evaluated[0])


def test_without_evaluations_the_last_weights_become_final(make: Make) -> None:
    config = make(eval_every=0, iterations=1, export_dtype="float16")
    final = weights(train_rl(config))
    last = weights(Path(config.output_dir) / "checkpoint-1")
    for name, value in last.items():
        assert final[name].dtype in (torch.float16, torch.float32)
        assert torch.allclose(final[name].float(), value, atol=1e-3)


@pytest.mark.parametrize("lr", [0.0, None])
def test_a_run_ends_when_programs_collapse_and_do_not_fare_better(
    lr: float | None, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, calls = loop._describe, []

    def shrinking(*args: Any) -> dict[str, float]:
        calls.append(0)
        return {**describe(*args), "length": 8.0 / len(calls)}

    monkeypatch.setattr(loop, "_describe", shrinking)
    if lr is None:  # no evaluations: length alone decides
        config = make(iterations=6, least_length_share=0.5, eval_every=0)
    else:  # the same model each time: the second evaluation is no better than the first
        config = make(iterations=6, least_length_share=0.5, eval_every=4, lr=lr)
    train_rl(config)
    # The lengths are 8, 4, 2.7, 2, ...
    assert len(calls) == (3 if lr is None else 4)
    assert (Path(config.output_dir) / f"checkpoint-{len(calls)}").is_dir()


def test_a_run_ends_without_better_evaluations(make: Make) -> None:
    config = make(iterations=9, eval_every=1, patience=2, lr=0.0)
    train_rl(config)
    assert [r["step"] for r in read_log(config) if "eval_iou" in r] == [0, 1, 2]


def test_the_entropy_bonus_keeps_entropy_up(make: Make) -> None:
    ends = []
    for weight in (0.0, 300.0):
        config = make(f"w{weight}", entropy_weight=weight, iterations=6, lr=0.01, eval_every=0)
        train_rl(config)
        ends.append(read_log(config)[-1]["entropy"])
    assert ends[1] > ends[0]


def test_a_kl_penalty_keeps_the_policy_near_its_start(make: Make, start: Path) -> None:
    moved = []
    for weight in (0.0, 100.0):
        config = make(f"kl{weight}", kl_weight=weight, iterations=3, eval_every=0)
        final, before = weights(train_rl(config)), weights(start)
        moved.append(sum(float((final[name] - before[name]).norm()) for name in before))
    assert 0 < moved[1] < moved[0]


def test_parts_that_teach_nothing_leave_the_weights_alone(
    make: Make, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "rewards_to_advantages", lambda rewards, **_: 0.0 * rewards)
    config = make(iterations=2, eval_every=0)
    final = train_rl(config)
    assert same_weights(final, start)
    assert read_log(config)[-1]["lively_share"] == 0.0


def test_a_loss_that_is_not_finite_stops_before_the_update(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = update.clipped_loss
    monkeypatch.setattr(
        update, "clipped_loss", lambda *a, **k: (loss(*a, **k)[0] * torch.nan, loss(*a, **k)[1])
    )
    with pytest.raises(TrainingError, match="iteration 1: the loss is nan"):
        train_rl(make(eval_every=0))


def test_too_little_memory_names_the_settings_to_change(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(update, "token_logs", full)
    with pytest.raises(TrainingError, match="lower rollout_parts=1 or loss_parts=1"):
        train_rl(make(eval_every=0))


def test_half_precision_samples_and_learns_from_nearly_the_same_policy(make: Make) -> None:
    config = make(dtype="bfloat16", iterations=1, eval_every=0)
    final = train_rl(config)
    assert 0 <= read_log(config)[0]["logprob_gap"] < 0.1
    assert all(value.dtype == torch.float32 for value in weights(final).values())


def test_held_out_meshes_that_are_no_solids_are_an_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "open.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(InputError, match=f"no mesh in '{tmp_path}' is a solid"):
        train_rl(make(eval_meshes=str(tmp_path)))


def test_time_that_runs_out_leaves_a_checkpoint_to_go_on_from(make: Make) -> None:
    stopped = make(max_minutes=1e-6)
    newest = train_rl(stopped)
    assert newest.name == "checkpoint-1"
    whole = make("whole")
    assert same_weights(train_rl(make()), train_rl(whole))


def test_portions_change_memory_and_not_the_gradient(make: Make) -> None:
    one = make("one", loss_parts=1, iterations=1, eval_every=0)
    two = make("two", loss_parts=2, iterations=1, eval_every=0)
    a, b = weights(train_rl(one)), weights(train_rl(two))
    assert all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)


def test_views_need_a_model_that_reads_pictures(make: Make) -> None:
    with pytest.raises(InputError, match="inputs=views needs a cadrille model"):
        train_rl(make(inputs="views"))


def test_the_rate_rises_and_falls(make: Make) -> None:
    config = make(iterations=10, warmup=2, final_lr_share=0.0)
    shares = [lr_share(step, config) for step in range(10)]
    assert shares[0] == pytest.approx(1 / 3) and shares[9] == pytest.approx(0.1)
    assert max(shares) == shares[2] and shares[2:] == sorted(shares[2:], reverse=True)


def test_the_result_is_a_model_folder(make: Make) -> None:
    final = train_rl(make(iterations=1))
    assert CADRecode.from_pretrained(final).config.num_points == 8
    assert (final / "tokenizer.json").is_file()


@pytest.mark.slow
def test_two_processes_keep_the_same_weights(start: Path, tmp_path: Path) -> None:
    config = tiny_rl(tmp_path / "run", start, iterations=2, eval_every=1)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.training.rl.toys import OnesPool, tiny_rl\n"
        "from cadwright.training.rl import state\n"
        "state.RewardPool = OnesPool\n"
        "kept = []\n"
        "before = state.set_up\n"
        "from cadwright.training.rl import loop\n"
        "loop.set_up = lambda config: kept.append(before(config)) or kept[-1]\n"
        "loop.train(tiny_rl(Path(sys.argv[1]), Path(sys.argv[2]), iterations=2, eval_every=1))\n"
        "total = sum(p.double().sum().item() for p in kept[0].model.parameters())\n"
        "rank = kept[0].accelerator.process_index\n"
        "Path(sys.argv[1], f'rank-{rank}').write_text(repr(total))\n"
    )
    script = tmp_path / "two.py"
    script.write_text(program)
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", "29541", str(script), config.output_dir, str(start)]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, cwd=root, timeout=600)
    sums = [(Path(config.output_dir) / f"rank-{rank}").read_text() for rank in range(2)]
    assert sums[0] == sums[1]
    info = json.loads((Path(config.output_dir) / "checkpoint-2" / "trainer.json").read_text())
    assert len(info["choosers"]) == 2
