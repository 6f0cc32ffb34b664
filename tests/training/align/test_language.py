"""The small language model: its tokenizer, its texts, its training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tests.align_toys import NUM_WORDS, TINY, make_tokenizer

from cadwright.errors import CheckpointError, InputError
from cadwright.models.align3d.checkpoint import load_vl_model
from cadwright.models.align3d.collate import IGNORE
from cadwright.models.align3d.conversation import PROMPT, answer_to_example
from cadwright.training.align import language
from cadwright.training.align.language import LanguageArgs, examples_to_batch, train_language
from cadwright.training.align.language_texts import draw_example
from cadwright.training.align.schedule import lr_share


class TestTokenizer:
    def test_any_printable_text_comes_back_and_words_are_single_tokens(self) -> None:
        tokenizer = make_tokenizer()
        texts = [
            "It has 12 through holes.",
            "Zebra-like? 123 & 07 holed",
            "how many holes?",
            PROMPT,
        ]
        for text in texts:
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        words = [tokenizer.decode([k]) for k in tokenizer("It has 12 through holes.")["input_ids"]]
        assert words == ["It", " has", " 12", " through", " holes", "."]

    def test_the_chat_template_ends_where_the_answer_begins(self) -> None:
        tokenizer = make_tokenizer()
        made = answer_to_example(tokenizer, "It has 1 body.", question="how many bodies?")
        learned = made["input_ids"][made["labels"] != IGNORE]
        assert tokenizer.decode(learned) == "It has 1 body.<|im_end|>"
        assert tokenizer.eos_token == "<|im_end|>" != tokenizer.pad_token


class TestTexts:
    def test_a_text_depends_on_seed_and_number_alone(self) -> None:
        assert draw_example(1, 5) == draw_example(1, 5)
        drawn = [draw_example(1, index) for index in range(12)]
        assert len(set(drawn)) == 12 and any(not x.context for x in drawn)

    def test_every_word_is_a_token(self) -> None:
        tokenizer = make_tokenizer()
        known = {word.strip() for word in tokenizer.get_vocab()}
        for index in range(40):
            example = draw_example(1, index)
            for text in (example.question, example.answer):
                assert set(re.findall("[A-Za-z-]+", text)) <= known

    def test_the_context_stands_before_the_question_and_is_not_learned(self) -> None:
        example = next(x for x in (draw_example(1, k) for k in range(9)) if x.context)
        tokenizer = make_tokenizer()
        batch = examples_to_batch([example], tokenizer)
        text = tokenizer.decode(batch["input_ids"][0])
        assert text.startswith(example.context + "<|im_start|>user\n" + example.question)
        learned = batch["input_ids"][batch["labels"] != IGNORE]
        assert tokenizer.decode(learned) == example.answer + "<|im_end|>"


class TestTraining:
    @pytest.fixture(autouse=True)
    def few_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(language, "NUM_VOCABULARY", NUM_WORDS)
        monkeypatch.setattr(language, "NUM_HELD_OUT", 4)

    def test_a_run_that_stopped_goes_on_to_the_same_weights(self, tmp_path: Path) -> None:
        made = {**TINY, "steps": 4, "batch_size": 2, "save_every": 2}
        whole = train_language(LanguageArgs(**made, output_dir=str(tmp_path / "whole")))

        def stop(line: str) -> None:
            if line.startswith("step 2"):
                raise KeyboardInterrupt

        args = LanguageArgs(**made, output_dir=str(tmp_path / "halves"))
        with pytest.raises(KeyboardInterrupt):
            train_language(args, say=stop)
        with pytest.raises(CheckpointError, match="another run"):
            train_language(LanguageArgs(**{**made, "lr": 1.0}, output_dir=args.output_dir))
        halves = train_language(args)
        one, two = (load_vl_model(folder)[0].state_dict() for folder in (whole, halves))
        assert all(torch.equal(one[name], two[name]) for name in one)
        said = json.loads((halves / "language.json").read_text())
        assert said["held_out_loss"] > 0 and not (halves / "state.pt").exists()

    def test_training_lowers_the_loss(self, tmp_path: Path) -> None:
        lines: list[str] = []
        args = LanguageArgs(
            **TINY, steps=12, batch_size=4, save_every=6, lr=1e-2, output_dir=str(tmp_path)
        )
        train_language(args, say=lines.append)
        losses = [float(line.split()[-1]) for line in lines if line.startswith("step")]
        assert losses[1] < losses[0]

    def test_what_makes_no_model_is_refused(self) -> None:
        for change in ({"hidden_size": 50}, {"num_kv_heads": 4}, {"steps": 0}, {"lr": 0.0}):
            with pytest.raises(InputError):
                LanguageArgs(**change)  # type: ignore[arg-type]


def test_a_rate_rises_then_falls_and_a_constant_one_stays() -> None:
    cosine = [lr_share(k, 100, warmup=0.1, schedule="cosine") for k in range(100)]
    assert 0 < cosine[0] < cosine[9] < 1.0 and cosine[10] == 1.0
    assert all(a > b for a, b in zip(cosine[10:], cosine[11:], strict=False))
    assert cosine[-1] == pytest.approx(0.1, abs=0.01)
    assert {lr_share(k, 9, warmup=0.0, schedule="constant") for k in range(9)} == {1.0}
    linear = [lr_share(k, 100, warmup=0.1, schedule="linear") for k in range(100)]
    assert linear[10] == 1.0 and linear[55] == pytest.approx(0.5) and 0 < linear[99] < 0.02
    fall = [lr_share(k, 100, warmup=0.0, schedule="fall") for k in range(100)]
    assert set(fall[:75]) == {1.0} and fall[99] == pytest.approx(0.04)
    assert all(a > b for a, b in zip(fall[75:], fall[76:], strict=False))
