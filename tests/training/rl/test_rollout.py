"""Sampling and reading programs whose prompt is shared: the same numbers as the plain way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.rl.toys import make_policy
from torch import Tensor

from cadwright.training.cadrille_start import new_cadrille
from cadwright.training.config import config_from_values
from cadwright.training.rl import rollout
from cadwright.training.rl.policy_loss import token_logs
from cadwright.training.rl.rollout import Rollouts, sample_rollouts
from cadwright.training.rl.shared_prompt import NAME

POINTS = np.random.default_rng(0).uniform(-1, 1, (3, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=["cad_recode", "cadrille"])
def policy(request: pytest.FixtureRequest, tokenizer: Any) -> tuple[Any, Any, dict[str, Tensor]]:
    """A model, its processor and prompts; of Cadrille with a picture, so that one is padded."""
    if request.param == "cad_recode":
        model, processor = make_policy(tokenizer)
        return model, processor, dict(processor(points=list(POINTS)))
    config = config_from_values(
        {
            "output_dir": "unused", "model": "cadrille", "hidden_size": 32, "num_layers": 2,
            "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 48, "num_points": 8,
            "vision_width": 32, "vision_layers": 1, "picture_size": 56,
        }
    )  # fmt: skip
    torch.manual_seed(1)
    model, processor = new_cadrille(config, None)
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim >= 2:
                param.mul_(2.0)  # sharper, so that greedy choices do not hang on rounding
    picture = np.random.default_rng(1).integers(0, 255, (56, 56, 3), dtype=np.uint8)
    prompts = processor(points=[POINTS[0], None, POINTS[2]], pictures=[None, picture, None])
    return model.eval(), processor, dict(prompts)


def sample(policy: Any, **changes: Any) -> Rollouts:
    model, processor, prompts = policy
    settings = {
        "num_samples": 4, "max_new_tokens": 12, "end_id": processor.end_token_id,
        "pad_id": processor.pad_token_id, "generator": torch.Generator().manual_seed(3),
    }  # fmt: skip
    return sample_rollouts(model, prompts, **{**settings, **changes})


def plain_logs(policy: Any, rollouts: Rollouts, num_samples: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies, every row read whole and by itself."""
    model, _, prompts = policy
    logprobs, entropies = [], []
    for row, length in enumerate(rollouts.lengths.tolist()):
        one = {name: value[row // num_samples :][:1] for name, value in prompts.items()}
        ids = one.pop("input_ids")
        mask = one.pop("attention_mask")
        written = rollouts.ids[row : row + 1, :length]
        logits = model(
            input_ids=torch.cat((ids, written), 1),
            attention_mask=torch.cat((mask, torch.ones_like(written)), 1),
            **one,
        ).logits[0, ids.shape[1] - 1 : -1]
        logs = logits.log_softmax(-1)
        logprobs.append(logs.gather(1, written[0].unsqueeze(1)).squeeze(1))
        entropies.append(-(logs.exp() * logs).sum(-1))
    return torch.cat(logprobs), torch.cat(entropies)


def test_greedy_rollouts_are_what_generate_writes(policy: Any) -> None:
    model, processor, prompts = policy
    rollouts = sample(policy, num_samples=1, temperature=0.0)
    written = model.generate(
        **prompts, do_sample=False, max_new_tokens=12, eos_token_id=processor.end_token_id,
        pad_token_id=processor.pad_token_id,
    )[:, prompts["input_ids"].shape[1] :]  # fmt: skip
    for row, length in enumerate(rollouts.lengths.tolist()):
        assert rollouts.ids[row, :length].tolist() == written[row, :length].tolist()


def test_a_prompt_shared_gives_what_every_row_alone_gives(policy: Any) -> None:
    model, _, prompts = policy
    rollouts = sample(policy)
    with torch.no_grad():
        found = token_logs(model, prompts, rollouts.ids, rollouts.lengths)
        logprobs, entropies = plain_logs(policy, rollouts, 4)
    assert torch.allclose(found.logprobs_K, logprobs, atol=2e-5)
    assert torch.allclose(found.entropies_K, entropies, atol=2e-5)


def test_gradients_reach_the_prompt_as_in_the_plain_way(policy: Any) -> None:
    model, _, prompts = policy
    rollouts = sample(policy, num_samples=2, max_new_tokens=5)
    weights = torch.linspace(-1, 1, int(rollouts.lengths.sum()))
    shared = token_logs(model, prompts, rollouts.ids, rollouts.lengths).logprobs_K
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad((shared * weights).sum(), parameters, allow_unused=True)
    plain, _ = plain_logs(policy, rollouts, 2)
    wanted = torch.autograd.grad((plain * weights).sum(), parameters, allow_unused=True)
    pairs = [(a, b) for a, b in zip(found, wanted, strict=True) if b is not None]
    assert len(pairs) > 10
    for a, b in pairs:
        assert a is not None and torch.allclose(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_what_sampling_notes_is_what_reading_finds(policy: Any, temperature: float) -> None:
    model, _, prompts = policy
    rollouts = sample(policy, temperature=temperature)
    with torch.no_grad():
        found = token_logs(model, prompts, rollouts.ids, rollouts.lengths, temperature=temperature)
    at_tokens = torch.arange(rollouts.ids.shape[1]) < rollouts.lengths.unsqueeze(1)
    assert torch.allclose(found.logprobs_K, rollouts.logprobs[at_tokens], atol=2e-5)
    assert torch.allclose(found.entropies_K, rollouts.entropies[at_tokens], atol=2e-5)
    assert not rollouts.logprobs[~at_tokens].any() and not rollouts.entropies[~at_tokens].any()


def test_rows_that_ended_leave_without_a_trace(
    policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, processor, _ = policy
    before = sample(policy, num_samples=1, temperature=0.0)
    middle = before.ids[1, 3].item()  # an end that some rows meet early
    leaving = sample(policy, num_samples=3, temperature=0.0, end_id=middle)
    monkeypatch.setattr(rollout, "SHARE_ENDED", 2.0)  # nobody leaves
    staying = sample(policy, num_samples=3, temperature=0.0, end_id=middle)
    assert leaving.lengths.min() < leaving.lengths.max()
    assert torch.equal(leaving.ids, staying.ids)
    assert torch.equal(leaving.lengths, staying.lengths)
    assert torch.allclose(leaving.logprobs, staying.logprobs, atol=1e-5)
    assert processor.end_token_id is not None


def test_lengths_count_the_end_and_padding_follows_it(policy: Any) -> None:
    _, processor, _ = policy
    found = sample(policy, num_samples=8, temperature=3.0, max_new_tokens=10)
    for ids, length, ended in zip(
        found.ids.tolist(), found.lengths.tolist(), found.ended.tolist(), strict=True
    ):
        if ended:
            assert ids[length - 1] == processor.end_token_id
            assert processor.end_token_id not in ids[: length - 1]
            assert set(ids[length:]) <= {processor.pad_token_id}
        else:
            assert length == len(ids) and processor.end_token_id not in ids


def test_the_generator_decides_the_samples_and_nothing_else_does(policy: Any) -> None:
    state = torch.get_rng_state()
    one, two = sample(policy), sample(policy)
    other = sample(policy, generator=torch.Generator().manual_seed(4))
    assert torch.equal(one.ids, two.ids)
    assert one.ids.shape != other.ids.shape or not torch.equal(one.ids, other.ids)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_model_is_left_as_it_was(policy: Any) -> None:
    model = policy[0]
    before = model.config.get_text_config()._attn_implementation
    model.train()
    sample(policy)
    assert model.training and model.config.get_text_config()._attn_implementation == before != NAME
    model.eval()


def test_entropy_is_that_of_a_token_on_average(policy: Any, tmp_path: Path) -> None:
    found = sample(policy)
    assert found.entropy == pytest.approx(
        float(found.entropies.sum()) / float(found.lengths.sum()), rel=1e-6
    )
    assert 0 < found.entropy < np.log(policy[0].config.get_text_config().vocab_size)
