"""The compact tokenizer: fixed code fragments and every integer are one token each.

Programs are numbers with the same few fragments between them, so a program is
about 55 tokens where a general tokenizer needs 250. The comma between two
numbers is not a token, so 57 is the same token wherever it stands. Whole programs of the
dialect, and any other ASCII text, survive encoding and decoding unchanged. It
is an ordinary ``PreTrainedTokenizerFast``; nothing here runs at decoding time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, START, END = "<pad>", "<s>", "<e>"  # start and end after CAD-Recode, section 4.3
LARGEST = 200  # the PROGRAM frame's sizes; numbers beyond are spelled digit by digit
MARK = "#"  # begins every number inside the tokenizer; no program holds one
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
    integers = [f"{MARK}{value}" for value in range(-LARGEST, LARGEST + 1)]
    characters = ["\n", *(chr(code) for code in range(32, 127))]
    words = list(dict.fromkeys([PAD, START, END, *integers, *ordered, *characters]))
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"(?<![\w.\-])(?=-?\d)"), MARK),
            normalizers.Replace(Regex(rf"(?<=\d),(?={MARK})"), ""),
        ]
    )
    integer = rf"{MARK}-?(?:200|1\d\d|[1-9]\d|\d)(?!\d)"
    pattern = "|".join([*(re.escape(text) for text in ordered), integer, r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Fuse(),
            decoders.Replace(Regex(rf"(?<=\d){MARK}"), ","),
            decoders.Replace(MARK, ""),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer() -> PreTrainedTokenizerFast:
    """The embedded default's tokenizer, from this package's assets."""
    folder = files("cadwright.assets") / "embedded"
    return PreTrainedTokenizerFast.from_pretrained(str(folder))
