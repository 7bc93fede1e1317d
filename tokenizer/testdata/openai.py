"""Writes openai.jsonl: what OpenAI's own tiktoken counts for hard strings.

    pip install tiktoken==0.14.0 && python openai.py > openai.jsonl
"""

import json
import random
import unicodedata

import tiktoken

ENCODINGS = ["o200k_base", "cl100k_base", "p50k_base", "p50k_edit", "r50k_base"]

FRAGMENTS = [
    "'s", "'S", "'t", "'re", "'RE", "'Ve", "'ll", "'LL", "'lL", "'m", "'D", "'", "''", "'\u017f", "'x",
    "a", "A", "ab", "Ab", "AB", "aB", "hello", "HELLO", " the", "\u01c5", "\u02b0", "\u0301", "\u0300\u0323",
    "\u00e9", "\u00c9", "\u017f", "\u4f60\u597d", "\u65e5\u672c\u8a9e", "\uac00\ub098", "\u0e01\u0e33",
    "\u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f600", "\ufe0f",
    " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u0085", "\u2028", "\u3000",
    "\u180e", "\u200b", "\x0b", "\x0c", "\x1c", "\x00", "\x7f", "0", "1", "12", "123", "1234", "\u0661", "\u00bd",
    "/", "//", "/\n", "\n/", "!", "!!", "...", "()", "};", "<|endoftext|>", "_", "-", "=", "$", "\u20ac",
    "\ufffd", "\uffff", "\ue000", "\U0010ffff", "\ud7ff", "\u0378", "\U00020000", "\u1e9e", "\u00df", "\u212a",
    "\u0130",
]


def assigned(code):
    return not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) != "Cn"


def text(source):
    kind = source.random()
    if kind < 0.1:
        return source.choice(FRAGMENTS) * source.randint(1, 80)
    if kind < 0.15:
        return (source.choice(FRAGMENTS) + source.choice(FRAGMENTS)) * source.randint(1, 40)
    if kind < 0.25:
        tops = [source.choice([0x2FF, 0x2FFF, 0x10FFFF]) for _ in range(source.randint(1, 20))]
        return "".join(chr(c) for c in (source.randint(0, top) for top in tops) if assigned(c))
    return "".join(source.choice(FRAGMENTS) for _ in range(source.randint(1, 15)))


def main():
    source = random.Random(1)
    encodings = [(name, tiktoken.get_encoding(name)) for name in ENCODINGS]
    folded = ["\u01c5'\u017f'sthe", "word'\u017f'm'Veword", " !Word'\u017f'REA0", "-'D'\u017f'LLaBword"]
    texts = ["", *folded, "x'S'LL", *FRAGMENTS, *(text(source) for _ in range(500))]
    for line in texts:
        tokens = {name: len(encoding.encode_ordinary(line)) for name, encoding in encodings}
        print(json.dumps({"text": line, "tokens": tokens}))


main()
