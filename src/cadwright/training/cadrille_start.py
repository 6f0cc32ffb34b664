"""A new, small Cadrille: its shape and its vocabulary.

In: a TrainConfig whose shape is complete. Out: a Cadrille with random weights and its processor.
Not covered: published checkpoints (models.cadrille.checkpoint), weights from another model
(transplant).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from cadwright.errors import CheckpointError
from cadwright.models import Cadrille, CadrilleConfig, CadrilleProcessor
from cadwright.models.cad_recode.tokenizer import MARK, NUMBER, build_tokenizer, load_tokenizer
from cadwright.models.cadrille.conversation import QUESTION
from cadwright.synth.describe import STYLES, Style, describe
from cadwright.synth.generate import draw_program
from cadwright.training.config import TrainConfig

NAMES = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
         "<|video_pad|>")  # fmt: skip
"""The tokens around messages and pictures, under the names of Qwen2-VL."""

HEAD_WIDTH = 32  # of the vision tower
NUM_DESCRIBED = 300  # programs whose descriptions give the vocabulary its words
MIN_COUNT = 3  # of what stands between numbers, in their descriptions
WORD = re.compile(r"[A-Za-z][a-z-]+")


def new_cadrille(
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    like: PreTrainedTokenizerBase | None = None,
) -> tuple[Cadrille, CadrilleProcessor]:
    """A Cadrille with random weights, of the shape the recipe names.

    Args:
        config: complete in shape; ``vision_width`` and ``vision_layers`` make the tower.
        tokenizer: with the names of Qwen's special tokens; None builds a compact one.
        like: a compact tokenizer whose fragments of programs the new one shall have.

    Raises:
        CheckpointError: the shape is not possible.
    """
    assert config.num_points is not None and config.picture_size is not None
    own = tokenizer or build_words_tokenizer(like or load_tokenizer())
    length = config.num_points + max(config.max_tokens, 512)
    processor = CadrilleProcessor(
        own, config.num_points, length, patches={"picture_size": config.picture_size}
    )
    try:
        model = Cadrille(_cadrille_config(config, processor, length))
    except ValueError as error:
        raise CheckpointError(f"a Cadrille of this shape cannot be made: {error}") from error
    model.generation_config.eos_token_id = processor.end_token_id
    model.generation_config.pad_token_id = processor.pad_token_id
    return model, processor


def build_words_tokenizer(like: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A compact tokenizer that knows words of descriptions besides programs.

    What stands between the numbers of a description is a token, as in programs: copying a
    number then means looking one token back in both, which small models learn within minutes
    (and hardly at all where seven words stand between, docs/log.md). Other words are tokens
    together with the space before them, as no program has it, or spelled.

    Args:
        like: whose fragments of programs to take.
    """
    fragments = [
        token
        for token in like.get_vocab()
        if len(token) > 1 and not token.startswith(MARK) and token not in like.all_special_tokens
    ]
    texts = {style: list(_descriptions(style)) for style in STYLES}
    said = [QUESTION, *(text for style in STYLES for text in texts[style])]
    words = sorted({f" {word}" for text in said for word in WORD.findall(text)})
    between = Counter(piece for text in texts["dimensioned"] for piece in NUMBER.split(text)[:-1])
    often = sorted(piece for piece, count in between.items() if count >= MIN_COUNT)
    known = [*fragments, *words, *often, "user\n", "assistant\n"]
    tokenizer = build_tokenizer(known, min_count=1)
    tokenizer.add_special_tokens({"additional_special_tokens": list(NAMES)})
    return tokenizer


def _descriptions(style: Style) -> Iterator[str]:
    """Generated programs in words."""
    for index in range(NUM_DESCRIBED):
        program = draw_program(0, index)
        if program is not None:
            yield describe(program, style=style, seed=index)


def _cadrille_config(
    config: TrainConfig, processor: CadrilleProcessor, length: int
) -> CadrilleConfig:
    """The configuration; input and output embeddings tied."""
    assert config.hidden_size is not None and config.num_heads is not None
    ids = processor.tokenizer.get_vocab()
    half = config.hidden_size // config.num_heads // 2
    rows = half * 3 // 8  # shares of time, row and column as published: 16, 24 and 24 of 64
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    decoder = {
        "vocab_size": len(processor.tokenizer),
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "max_position_embeddings": length,
        "rope_parameters": rope | {"mrope_section": [half - 2 * rows, rows, rows]},
        # Never used, but a config without it reads back with Qwen2's, which is not in here.
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": processor.end_token_id,
        "pad_token_id": processor.pad_token_id,
        "initializer_range": config.hidden_size**-0.5,
    }
    tower = {
        "depth": config.vision_layers,
        "embed_dim": config.vision_width,
        "num_heads": max(config.vision_width // HEAD_WIDTH, 1),
        "hidden_size": config.hidden_size,
        "mlp_ratio": 4,
        "initializer_range": config.vision_width**-0.5,
    }
    return CadrilleConfig(
        text_config=decoder,
        vision_config=tower,
        tie_word_embeddings=True,
        num_points=config.num_points,
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
    )
