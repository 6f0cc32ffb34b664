"""Evaluation of an alignment: what is written, what counts as right, sentence similarity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.align_toys import VAE_CONFIG, make_tokenizer, make_vae, save_language

from cadwright.errors import CheckpointError, InputError
from cadwright.evaluation.alignment import EvalSettings, evaluate_alignment, rows_to_metrics
from cadwright.evaluation.captions import best_scores
from cadwright.evaluation.sentences import SentenceModel
from cadwright.models.align3d.aligned import Aligned
from cadwright.models.align3d.branch import Qwen3VLWith3DBranch
from cadwright.models.align3d.checkpoint import load_vl_model
from cadwright.models.align3d.pairs import QUESTIONS
from cadwright.models.align3d.projector import Projector3D
from cadwright.models.align3d.sources import GeneratedShapes

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Aligned:
    folder = tmp_path_factory.mktemp("language")
    model, tokenizer = load_vl_model(save_language(folder))
    torch.manual_seed(0)
    branch = Qwen3VLWith3DBranch(model, Projector3D(4, 32), make_vae()).eval()
    return Aligned(branch, tokenizer, {}, folder)


def test_every_file_is_written_and_the_mesh_is_that_of_the_same_codes(
    aligned: Aligned, tmp_path: Path
) -> None:
    pytest.importorskip("skimage")
    shapes = GeneratedShapes(VAE_CONFIG, num=3, seed=6)
    settings = EvalSettings(output_dir=str(tmp_path), max_eval_samples=3, max_new_tokens=4,
                            batch_size=2, save_mesh=2)  # fmt: skip
    metrics = evaluate_alignment(aligned, shapes, settings)
    rows = [json.loads(x) for x in (tmp_path / "eval_results.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and len((tmp_path / "generated.txt").read_text().splitlines()) == 3
    asked = [sum(any(p.question in q for p in s.pairs) for q in QUESTIONS.values()) for s in shapes]
    assert [len(row["questions"]) for row in rows] == asked and sum(asked) > 0
    assert rows[1]["references"] == [p.answer for p in shapes[1].pairs if "Describe" in p.question]
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["num"] == 3 and set(metrics["control"]) == {"loss", "loss_shuffled", "gap"}
    # a VAE with random weights may decode to nothing at all, but never to a file that is empty
    assert all(path.stat().st_size > 84 for path in tmp_path.glob("recon_mesh_*.stl"))


def test_right_is_what_the_text_names_and_a_guess_is_the_commonest() -> None:
    def row(made: str, true: str) -> dict[str, Any]:
        return {"generated": made, "references": [true], "questions": []}

    one = "Main body: a box. There are 2 bodies and 0 through holes in all."
    two = "The main body is a ring. The part has 2 bodies and 1 through hole."
    metrics = rows_to_metrics([row(one, one), row(one, two), row(two, two)])
    right = metrics["captions_right"]
    assert right["kind"] == right["holes"] == pytest.approx(2 / 3)
    assert right["bodies"] == right["bodies_guess"] == 1.0
    assert right["holes_guess"] == pytest.approx(2 / 3) and "answers_right" not in metrics
    assert "captions_right" not in rows_to_metrics([row("a plate", "a red robot")])


def test_the_best_of_several_references_counts() -> None:
    score = best_scores(["a b c d"], [["x y", "a b c d"]])
    assert score.bleu_1 == score.rouge_l == 1.0
    with pytest.raises(InputError, match="at least one reference"):
        best_scores(["a"], [[]])


def test_sentences_are_compared_by_a_model_at_hand(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(tmp_path)
    judge = SentenceModel(tmp_path)
    texts = ["It has 2 bodies.", "The main body is a box."]
    same = judge.similarity(texts, texts)
    assert same == pytest.approx([1.0, 1.0], abs=1e-5)
    other = judge.similarity(texts, texts[::-1])
    assert other[0] == pytest.approx(other[1], abs=1e-5) and other[0] < 0.999
    # padding beside a longer sentence changes nothing
    assert torch.allclose(judge.embed(texts)[0], judge.embed(texts[:1])[0], atol=1e-5)
    row = {"generated": texts[0], "references": [texts[0]], "questions": []}
    assert rows_to_metrics([row], judge)["sentence_similarity"] == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(InputError, match="in pairs"):
        judge.similarity(texts, texts[:1])


def test_what_cannot_be_evaluated_is_refused(aligned: Aligned, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        SentenceModel(tmp_path / "lost")
    with pytest.raises(CheckpointError, match="cannot be read"):
        SentenceModel(tmp_path)
    with pytest.raises(InputError, match="no shapes"):
        evaluate_alignment(aligned, [], EvalSettings(output_dir=str(tmp_path)))
    with pytest.raises(InputError, match="max_eval_samples"):
        EvalSettings(max_eval_samples=0)
