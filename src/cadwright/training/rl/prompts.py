"""Parts -> what the model is shown of them, and how it did: rollouts with their grades.

In: solids (PROGRAM frame). Out: prompts of points or four views, in the layout of the model's
processor; sampled programs, graded while the next are being sampled. Not covered: learning from
them (loop).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from cadwright.errors import InputError
from cadwright.geometry.frames import PROGRAM_TO_MODEL, PROGRAM_TO_UNIT, normalise
from cadwright.geometry.mesh_to_points import mesh_to_points
from cadwright.training.rl.parts import Part
from cadwright.training.rl.policy_loss import lengths_to_mask
from cadwright.training.rl.rewards import CUT_OFF, INVALID_REWARD, Grade, RewardPool
from cadwright.training.rl.rollout import Rollouts, sample_rollouts
from cadwright.types import Outcome

Inputs = Literal["points", "views", "both"]
_SHOW_KEY, _SAMPLE_KEY = 13, 14  # keep the random streams of a run apart


@dataclass(frozen=True, slots=True, eq=False)
class Graded:
    """The programs of a step, with what they are worth.

    Attributes:
        prompts: of N parts.
        rollouts: N * M programs.
        texts: of each, as written.
        grades: of each.
    """

    prompts: dict[str, Tensor]
    rollouts: Rollouts
    texts: list[str]
    grades: list[Grade]

    def rewards(self, *, invalid: float = INVALID_REWARD) -> Tensor:
        """(N, M) float32, on the CPU; ``invalid`` is what no solid is worth."""
        values = [grade.reward if grade.outcome is Outcome.OK else invalid for grade in self.grades]
        rewards = torch.tensor(values, dtype=torch.float32)
        return rewards.view(len(self.prompts["input_ids"]), -1)


def parts_to_prompts(
    parts: Sequence[Part],
    processor: Any,
    *,
    inputs: Inputs,
    seeds: tuple[int, ...],
    noise_std: float = 0.0,
    noise_probability: float = 0.0,
) -> dict[str, Tensor]:
    """Show parts to a model.

    Args:
        parts: the targets.
        processor: of CADRecode, which reads points alone, or of a Cadrille.
        inputs: what is shown; 'both' tosses a coin for each part.
        seeds: with a part's number they fix its points, its noise and its coin.
        noise_std: standard deviation, MODEL frame.
        noise_probability: share of parts whose points get noise.

    Returns:
        The tensors of a batch of prompts, padded on the left.

    Raises:
        InputError: views for a model that reads points alone.
    """
    points: list[NDArray[np.float32] | None] = []
    pictures: list[Any] = []
    for part in parts:
        rng = np.random.default_rng((*seeds, _SHOW_KEY, part.number))
        as_picture = inputs == "views" or (inputs == "both" and rng.random() < 0.5)
        pictures.append(_draw_views(part) if as_picture else None)
        points.append(
            None if as_picture
            else _sample(part, processor.num_points, rng, noise_std, noise_probability)
        )  # fmt: skip
    if inputs == "points":
        return dict(processor(points=points))
    if not hasattr(processor, "picture_token_id"):
        raise InputError(f"inputs={inputs} needs a cadrille model: this one reads points alone")
    return dict(processor(points=points, pictures=pictures))


def roll_out(
    model: Any,
    processor: Any,
    parts: Sequence[Part],
    prompts: dict[str, Tensor],
    pool: RewardPool,
    *,
    num_samples: int,
    max_new_tokens: int,
    temperature: float,
    at_once: int,
    seeds: tuple[int, ...],
) -> Graded:
    """Sample programs for parts and grade them; workers grade while the next are sampled.

    Args:
        model: the policy.
        processor: turns ids into texts.
        parts: N targets.
        prompts: what the model is shown of them.
        pool: computes rewards.
        num_samples: M.
        max_new_tokens: longest program.
        temperature: 0 takes the likeliest tokens.
        at_once: parts sampled together.
        seeds: fix the samples.
    """
    portions: list[Rollouts] = []
    texts: list[str] = []
    futures: list[Future[list[Grade]]] = []
    for first in range(0, len(parts), at_once):
        some = parts[first : first + at_once]
        generator = torch.Generator(device=model.device)
        generator.manual_seed(mix_seeds(*seeds, _SAMPLE_KEY, first))
        rollouts = sample_rollouts(
            model,
            {name: value[first : first + at_once] for name, value in prompts.items()},
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
            end_id=processor.end_token_id,
            pad_id=processor.pad_token_id,
            temperature=temperature,
            generator=generator,
        )
        portions.append(rollouts)
        written = processor.batch_decode(rollouts.ids, prompt_length=0)
        texts += written
        for k, part in enumerate(some):
            group = written[k * num_samples : (k + 1) * num_samples]
            futures.append(pool.submit(part.mesh, group))
    rollouts = _joined(portions)
    grades = [grade for future in futures for grade in future.result()]
    ended = rollouts.ended.tolist()
    grades = [grade if end else CUT_OFF for grade, end in zip(grades, ended, strict=True)]
    return Graded(prompts, rollouts, texts, grades)


def sketch_share(texts: Sequence[str]) -> float:
    """Share of programs that draw a sketch: near 0 when a policy has fallen back to boxes."""
    return sum(".sketch(" in text for text in texts) / max(len(texts), 1)


def mix_seeds(*seeds: int) -> int:
    """One number for torch from several."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)


def _sample(
    part: Part, num: int, rng: np.random.Generator, std: float, probability: float
) -> NDArray[np.float32]:
    """(num, 3) points of a part, MODEL frame."""
    mesh = normalise(part.mesh, PROGRAM_TO_MODEL)
    points = mesh_to_points(mesh, num_points=num, seed=int(rng.integers(2**31)))
    if std and rng.random() < probability:
        return points + np.float32(std) * rng.standard_normal(points.shape, dtype=np.float32)
    return points


def _draw_views(part: Part) -> Any:
    """The published picture of four views."""
    from cadwright.geometry.mesh_to_views import mesh_to_views  # needs numba, points do not

    return mesh_to_views(normalise(part.mesh, PROGRAM_TO_UNIT))


def _joined(portions: Sequence[Rollouts]) -> Rollouts:
    """Rows of all portions, padded to the longest; padding is 0, and never read."""
    width = max(one.ids.shape[1] for one in portions)

    def join(name: str) -> Tensor:
        values = [getattr(one, name) for one in portions]
        return torch.cat([pad(value, (0, width - value.shape[1])) for value in values])

    return Rollouts(
        ids=join("ids"),
        lengths=torch.cat([one.lengths for one in portions]),
        ended=torch.cat([one.ended for one in portions]),
        logprobs=join("logprobs"),
        entropies=join("entropies"),
    )


def row_logprobs(rollouts: Rollouts, rows: Tensor) -> Tensor:
    """(K,) log-probabilities that the tokens of some rows were drawn with, row after row."""
    lengths = rollouts.lengths[rows]
    width = rollouts.logprobs.shape[1]
    return rollouts.logprobs[rows][lengths_to_mask(lengths, width)]
