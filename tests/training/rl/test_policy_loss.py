"""The loss of Dr. CPPO and GRPO: advantages, what is kept, what is clipped, what counts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cadwright.training.rl.policy_loss import (
    LIKE_LENGTH,
    best_of_advantages,
    by_length,
    clipped_loss,
    keep_largest,
    kl_penalty,
    rewards_to_advantages,
    token_weights,
)

REWARDS = torch.tensor([[10.0, -10.0, 5.0, 5.0], [7.0, 7.0, 7.0, 7.0]])


def test_dr_cppo_takes_the_difference_from_the_mean() -> None:
    found = rewards_to_advantages(REWARDS, standardise=False)
    assert found.tolist() == [[7.5, -12.5, 2.5, 2.5], [0.0] * 4]


def test_grpo_divides_by_the_standard_deviation() -> None:
    found = rewards_to_advantages(REWARDS, standardise=True)
    assert found[0].std(correction=0).item() == pytest.approx(1.0, abs=1e-3)
    assert found[1].tolist() == [0.0] * 4  # and not a division by zero


@pytest.mark.parametrize("k", [2, 3, 4])
def test_best_of_k_pays_what_a_sample_adds_to_the_best_of_others(k: int) -> None:
    rewards = torch.tensor([[1.0, 4.0, 2.0, 4.5], [3.0, 3.0, 3.0, 3.0]])
    found = best_of_advantages(rewards, k)
    for sample, own in enumerate(rewards[0].tolist()):
        others = [r for j, r in enumerate(rewards[0].tolist()) if j != sample]
        gains = [max(own - max(some), 0.0) for some in itertools.combinations(others, k - 1)]
        assert found[0, sample].item() == pytest.approx(sum(gains) / len(gains))
    assert found[1].tolist() == [0.0] * 4


def test_the_largest_advantages_of_either_sign_are_kept() -> None:
    advantages = torch.tensor([[1.0, -5.0, 0.5, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert keep_largest(advantages, 2).tolist() == [[1, 3], [0, 1]]
    assert keep_largest(advantages, 4).tolist() == [[0, 1, 2, 3]] * 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=8), st.integers(1, 3))
def test_nothing_left_out_is_larger_than_what_is_kept(values: list[float], num: int) -> None:
    advantages = torch.tensor([values])
    kept = keep_largest(advantages, num)[0].tolist()
    left = [abs(v) for k, v in enumerate(advantages[0].tolist()) if k not in kept]
    assert len(set(kept)) == num
    assert all(abs(advantages[0, k].item()) >= max(left, default=0.0) for k in kept)


def test_a_row_counts_by_its_tokens_with_dr_grpo_and_once_with_grpo() -> None:
    lengths = torch.tensor([2, 6])
    constant = token_weights(lengths, num_rows=2, constant=10)
    assert constant.tolist() == pytest.approx([0.05] * 8)
    own = token_weights(lengths, num_rows=2, constant=None)
    assert own[:2].sum().item() == pytest.approx(0.5) == own[2:].sum().item()


def gradient(logprob: float, before: float, advantage: float) -> tuple[float, float, bool]:
    now = torch.tensor([logprob], requires_grad=True)
    loss, clipped = clipped_loss(
        now, torch.tensor([before]), torch.tensor([advantage]), torch.ones(1), clip=0.1
    )
    (slope,) = torch.autograd.grad(loss, now)
    return loss.item(), slope.item(), bool(clipped)


@pytest.mark.parametrize("advantage", [3.0, -3.0])
def test_before_the_first_update_the_gradient_is_the_policy_gradient(advantage: float) -> None:
    loss, slope, clipped = gradient(-1.0, -1.0, advantage)
    assert (loss, slope, clipped) == (-advantage, -advantage, False)


def test_the_clip_stops_what_went_far_enough_the_right_way() -> None:
    assert gradient(-0.8, -1.0, 1.0)[1:] == (0.0, True)
    assert gradient(-1.2, -1.0, -1.0)[1:] == (0.0, True)


def test_the_clip_never_stops_the_way_back() -> None:
    for logprob, advantage in ((-1.2, 1.0), (-0.8, -1.0)):
        _, slope, clipped = gradient(logprob, -1.0, advantage)
        assert slope * advantage < 0 and not clipped


def test_the_kl_penalty_is_zero_at_the_reference_and_grows_both_ways() -> None:
    here, weights = torch.tensor([-1.0, -2.0]), torch.full((2,), 0.5)
    assert kl_penalty(here, here, weights).item() == 0.0
    for shift in (-0.5, 0.5):
        assert kl_penalty(here + shift, here, weights).item() > 0.05


def test_advantages_keep_their_gradient_out_of_the_rewards() -> None:
    found: Any = rewards_to_advantages(REWARDS, standardise=False)
    assert not found.requires_grad


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_groups_of_like_length_hold_every_row_once(lengths: list[int]) -> None:
    groups = [group.tolist() for group in by_length(torch.tensor(lengths))]
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        assert group == sorted(group)
        own = [lengths[row] for row in group]
        assert min(own) >= LIKE_LENGTH * max(own)
