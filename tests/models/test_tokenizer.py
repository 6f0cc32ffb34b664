"""The compact tokenizer: lossless, short, an ordinary tokenizer."""

import glob

import pytest

from cadwright.models.cad_recode.tokenizer import build_tokenizer, load_tokenizer
from cadwright.program.program_to_text import program_to_text
from cadwright.synth.generate import draw_program

TEXTS = [
    program_to_text(program)
    for program in (draw_program(31, index) for index in range(60))
    if program is not None
]


@pytest.mark.parametrize(
    "text",
    [*TEXTS, "w0.rect(40.5,-3.5)\n", "anything at all: 123456 -201 w17", "r=w0.box(200,-200,0)"],
)
def test_encoding_is_lossless(text: str) -> None:
    tokenizer = load_tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_reference_programs_are_lossless_too() -> None:
    tokenizer = load_tokenizer()
    paths = glob.glob("tests/golden/shapes/*.py")
    assert len(paths) == 12
    for path in paths:
        with open(path) as file:
            text = file.read()
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_program_is_about_55_tokens() -> None:
    tokenizer = load_tokenizer()
    lengths = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert 35 < sum(lengths) / len(lengths) < 75


def test_integers_are_single_tokens_and_special_tokens_are_set() -> None:
    tokenizer = build_tokenizer(TEXTS, min_count=2)
    for value in (-200, -1, 0, 7, 200):
        assert len(tokenizer(str(value))["input_ids"]) == 1
    special = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert len(special) == 3
