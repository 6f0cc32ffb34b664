"""A compact word-level tokenizer for descriptions, questions and answers, with a chat template.

In: example texts. Out: an ordinary ``PreTrainedTokenizerFast`` with the names of Qwen2-VL's
special tokens. Each word is a token, with or without the space before it; whole numbers up to
``LARGEST`` too; any other printable ASCII text is spelled and comes back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END, START = "<|endoftext|>", "<|im_end|>", "<|im_start|>"
NAMES = (START, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
LARGEST = 99
WORD = re.compile(r" ?[A-Za-z]+(?:-[A-Za-z]+)*")
ROLES = ("user\n", "assistant\n")
# Published templates put a system's turn first; a model this small would learn it for nothing.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build_words_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer whose words are those of the texts.

    Args:
        texts: what it shall say and read; the order does not matter.
    """
    found = {word for text in texts for word in WORD.findall(text)}
    found |= {word.lstrip() for word in found} | {f" {word.lstrip()}" for word in found}
    words = sorted((word for word in found if len(word) > 1), key=lambda word: (-len(word), word))
    numbers = [f"{space}{value}" for space in (" ", "") for value in range(LARGEST + 1)]
    characters = ["\n", *(chr(code) for code in range(32, 127))]
    vocabulary = dict.fromkeys([PAD, END, *NAMES, *ROLES, *numbers, *words, *characters])
    tokenizer = Tokenizer(
        models.WordLevel({word: k for k, word in enumerate(vocabulary)}, unk_token=PAD)
    )
    # A word only where no letter follows, so that "holed" is spelled and not "hole" with a rest.
    known = "|".join(re.escape(word) for word in words)
    pattern = rf"(?:{'|'.join(ROLES)})|(?:{known})(?![A-Za-z])| ?[1-9]?\d(?!\d)|[\s\S]"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, bos_token=START,
        additional_special_tokens=[name for name in NAMES if name != START],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    made.chat_template = CHAT_TEMPLATE
    return made
