from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from cadwright.errors import CheckpointError  # noqa: E402
from cadwright.models import CADRecode, CADRecodeConfig, CADRecodeProcessor  # noqa: E402
from cadwright.models.loading import load_any_model  # noqa: E402

SIZE = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = CADRecodeConfig(
        vocab_size=SIZE, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24, num_points=4,
    )  # fmt: skip
    CADRecode(config).save_pretrained(tmp_path)
    return tmp_path


def tokenizer_with(end: int) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "a": 2, "</s>": end}, unk_token="a"))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def test_cad_recode_is_loaded_by_its_model_type(folder: Path) -> None:
    CADRecodeProcessor(tokenizer_with(3), num_points=4).save_pretrained(folder)
    for kind in ("cad_recode", "qwen2"):
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | {"model_type": kind}))
        model, processor = load_any_model(folder)
        assert isinstance(model, CADRecode) and isinstance(processor, CADRecodeProcessor)


def test_special_token_beyond_the_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=f"vocabulary of {SIZE} .* has no token id {SIZE}"):
        load_any_model(folder, tokenizer=tokenizer_with(SIZE))
    load_any_model(folder, tokenizer=tokenizer_with(SIZE - 1))


def test_other_models_and_empty_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_any_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="'llama' model"):
        load_any_model(tmp_path)
