"""The compact tokenizer: fixed code fragments and every integer are one token each.

Programs are numbers with the same few fragments between them, so a program is
about 55 tokens where a general tokenizer needs 250. Whole programs of the
dialect, and any other ASCII text, survive encoding and decoding unchanged. It
is an ordinary ``PreTrainedTokenizerFast``; nothing here runs at decoding time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, START, END = "<pad>", "<s>", "<e>"  # start and end after CAD-Recode, section 4.3
LARGEST = 200  # the PROGRAM frame's sizes; numbers beyond are spelled digit by digit
NUMBER = re.compile(r"(?<![\w.])-?\d+")
# what is left when no longer fragment fits: any program of the dialect can be spelled with these
PIECES = (
    "import cadquery as cq\n", "=cq.Workplane(", "'XY'", "'YZ'", "'ZX'", ",origin=(", "))\n", "r=",
    ".sketch()", ".push([(", ")])", ".circle(", ".rect(", ",mode='s')", ".segment((", "),(", "))",
    ".arc((", ".close()", ".assemble(", "mode='s'", ".reset()", ".face(", ".finalize()",
    ".extrude(", ".union(", ".workplane(offset=", "/2)", ".moveTo(", ".box(", ".cylinder(",
    "w0", "w1", "w2", "w3",
)  # fmt: skip


def build_tokenizer(texts: Iterable[str], *, min_count: int = 5) -> PreTrainedTokenizerFast:
    """Make a tokenizer from example programs.

    Args:
        texts: canonical program texts; what stands between their numbers becomes a token.
        min_count: fragments rarer than this are spelled with shorter ones.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(NUMBER.split(text))
    fragments = {text for text, count in counts.items() if count >= min_count and len(text) > 1}
    ordered = sorted(fragments | set(PIECES), key=lambda text: (-len(text), text))
    characters = ["\n", *(chr(code) for code in range(32, 127))]
    integers = [str(value) for value in range(-LARGEST, LARGEST + 1)]
    words = [PAD, START, END, *integers, *(f"{number}," for number in integers), *ordered]
    words += [character for character in characters if character not in set(words)]
    tokenizer = Tokenizer(
        models.WordLevel({word: k for k, word in enumerate(words)}, unk_token=PAD)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_pattern(ordered)), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _pattern(fragments: list[str]) -> str:
    """Longest fragment first, then a number (with its comma before another number), then one character."""
    number = r"-?(?:200|1\d\d|[1-9]\d|\d)(?!\d)(?:,(?=-?\d))?"
    return "|".join([*(re.escape(text) for text in fragments), number, r"[\s\S]"])


def load_tokenizer() -> PreTrainedTokenizerFast:
    """The embedded default's tokenizer, from this package's assets."""
    folder = files("cadwright.assets") / "embedded"
    return PreTrainedTokenizerFast.from_pretrained(str(folder))
