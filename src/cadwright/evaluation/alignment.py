"""How well an aligned model speaks of shapes: captions, counts, the shuffled control, meshes.

In: an aligned model and shapes with what is true of them. Out: a folder with
``eval_results.jsonl``, ``generated.txt``, ``metrics.json`` and ``recon_mesh_{i}.stl``, the surface
that the VAE decodes from the very codes that the model was told. Where references are this
package's wording, kinds and counts are compared as such.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cadwright.errors import GeometryError, InputError
from cadwright.evaluation.captions import best_scores
from cadwright.evaluation.sentences import SentenceModel
from cadwright.geometry.atomic import atomic_write
from cadwright.geometry.stl import save_stl
from cadwright.models.align3d.aligned import Aligned
from cadwright.models.align3d.control import mean_loss
from cadwright.models.align3d.describe import MAX_NEW_TOKENS, answer
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.pairs import QUESTIONS, TOPICS, Pair, text_to_said
from cadwright.models.align3d.sources import Shape
from cadwright.models.vqvae.inputs import sdfs_to_batch
from cadwright.models.vqvae.model import Code
from cadwright.types import Mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """An evaluation.

    Attributes:
        output_dir: made where it is missing.
        prompt: asked instead of each shape's own caption prompt.
        max_eval_samples: only the first so many shapes.
        max_new_tokens: longest answer.
        batch_size: shapes at a time.
        save_mesh: so many shapes are also decoded into meshes.
        sentence_model: folder of a sentence model, or None.
        control: also the loss with true and with shuffled shapes.
    """

    output_dir: str = "./eval_3d_vl_out"
    prompt: str | None = None
    max_eval_samples: int = 50
    max_new_tokens: int = MAX_NEW_TOKENS
    batch_size: int = 8
    save_mesh: int = 1
    sentence_model: str | None = None
    control: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers that make no evaluation."""
        for name in ("max_eval_samples", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.save_mesh < 0:
            raise InputError("save_mesh must not be negative")


def evaluate_alignment(
    aligned: Aligned,
    shapes: Any,
    settings: EvalSettings,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Ask about every shape, score, write.

    Args:
        aligned: the model.
        shapes: a source or a folder of latents; held-out ones.
        settings: of the evaluation.
        say: gets a line for each batch.
    Returns:
        What ``metrics.json`` says.
    Raises:
        InputError: there are no shapes, or one cannot be used.
        CheckpointError: the sentence model cannot be read.
    """
    folder = Path(settings.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    judge = SentenceModel(settings.sentence_model) if settings.sentence_model else None
    num = min(len(shapes), settings.max_eval_samples)
    if not num:
        raise InputError("there are no shapes to evaluate")
    rows: list[dict[str, Any]] = []
    for first in range(0, num, settings.batch_size):
        batch = [shapes[k] for k in range(first, min(first + settings.batch_size, num))]
        rows += _ask(aligned, batch, settings)
        say(f"{len(rows)} of {num} shapes")
    metrics = rows_to_metrics(rows, judge)
    if settings.control and num > 1:
        metrics["control"] = _control(aligned, shapes, num, settings.batch_size)
    _write(folder, rows, metrics)
    vae: Any = aligned.branch.vae
    for number in range(min(settings.save_mesh, num)):
        mesh = _rebuild(vae, shapes, number)
        if mesh is not None:
            save_stl(mesh, folder / f"recon_mesh_{number}.stl")
    return metrics


def rows_to_metrics(
    rows: Sequence[dict[str, Any]], judge: SentenceModel | None = None
) -> dict[str, Any]:
    """Means over rows of ``eval_results.jsonl``."""
    answers = [row["generated"] for row in rows]
    references = [row["references"] for row in rows]
    scores = best_scores(answers, references)
    metrics: dict[str, Any] = {"num": len(rows), **asdict(scores)}
    if judge is not None:
        values = judge.similarity(answers, [texts[0] for texts in references])
        metrics["sentence_similarity"] = sum(values) / len(values)
    captions = _compare((row["generated"], row["references"][0]) for row in rows)
    if captions:
        metrics["captions_right"] = captions
    asked = _compare(
        (told["generated"], told["reference"]) for row in rows for told in row["questions"]
    )
    if asked:
        metrics["answers_right"] = asked
    return metrics


def _compare(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Share of right kinds and counts, where the reference names them, beside the best guess.

    ``*_guess`` is the share that the most frequent value would get: what is right without a look.
    """
    said = [(text_to_said(generated), text_to_said(truth)) for generated, truth in pairs]
    found: dict[str, float] = {}
    for topic in TOPICS:
        told = [
            (getattr(made, topic), getattr(true, topic))
            for made, true in said
            if getattr(true, topic) is not None
        ]
        if told:
            found[topic] = sum(made == true for made, true in told) / len(told)
            most = Counter(true for _, true in told).most_common(1)[0][1]
            found[f"{topic}_guess"] = most / len(told)
    return found


def _ask(aligned: Aligned, batch: list[Shape], settings: EvalSettings) -> list[dict[str, Any]]:
    """Captions of all shapes, and one question of each topic that the shape has an answer to."""
    prompts = [settings.prompt or shape.pairs[0].question for shape in batch]
    told = answer(aligned, batch, prompts, max_new_tokens=settings.max_new_tokens)
    rows: list[dict[str, Any]] = [
        {
            "name": shape.name, "prompt": prompt, "generated": text,
            "references": [p.answer for p in shape.pairs if p.question == shape.pairs[0].question],
            "questions": [],
        }
        for shape, prompt, text in zip(batch, prompts, told, strict=True)
    ]  # fmt: skip
    for topic in TOPICS:
        pairs = [_pair_of(shape, topic) for shape in batch]
        asked = [k for k, pair in enumerate(pairs) if pair is not None]
        if not asked:
            continue
        texts = answer(
            aligned, [batch[k] for k in asked], [QUESTIONS[topic][0]] * len(asked),
            max_new_tokens=settings.max_new_tokens,
        )  # fmt: skip
        for k, text in zip(asked, texts, strict=True):
            pair = pairs[k]
            assert pair is not None
            rows[k]["questions"].append(
                {"question": QUESTIONS[topic][0], "generated": text, "reference": pair.answer}
            )
    return rows


def _pair_of(shape: Shape, topic: Any) -> Pair | None:
    return next((pair for pair in shape.pairs if pair.question in QUESTIONS[topic]), None)


def _control(aligned: Aligned, shapes: Any, num: int, batch_size: int) -> dict[str, float]:
    """Loss a token with each text at its own shape, and at the next one's."""
    items = [ShapeItems(shapes, aligned.tokenizer, only_captions=True)[k] for k in range(num)]
    own = mean_loss(aligned.branch, items, batch_size=batch_size)
    other = mean_loss(aligned.branch, items, batch_size=batch_size, shuffle=True)
    return {"loss": own, "loss_shuffled": other, "gap": other - own}


def _rebuild(vae: Any, shapes: Any, number: int) -> Mesh | None:
    """The surface behind the codes of a shape, USER frame where it is known, else GRID units."""
    shape: Shape = shapes[number]
    if shape.sdf is not None:
        code: Code = vae.Encode(sdfs_to_batch([shape.sdf]))
    elif hasattr(shapes, "code"):
        code = shapes.code(number)
    else:
        return None  # vectors alone do not say which rows of the codebook they are
    try:
        mesh: Mesh = vae.decode_mesh(code)[0]
    except GeometryError:
        return None  # codes that decode to no surface; the sentence is still worth having
    if shape.sdf is not None:
        return Mesh(shape.sdf.placement.inverse().apply(mesh.vertices), mesh.faces)
    return mesh


def _write(folder: Path, rows: Sequence[dict[str, Any]], metrics: dict[str, Any]) -> None:
    with atomic_write(folder / "eval_results.jsonl") as draft:
        draft.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with atomic_write(folder / "generated.txt") as draft:
        draft.write_text("".join(f"{row['generated']}\n" for row in rows), encoding="utf-8")
    with atomic_write(folder / "metrics.json") as draft:
        draft.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
