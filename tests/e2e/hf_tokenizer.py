# SPDX-License-Identifier: MIT
"""The tokenizer of a GGUF file, rebuilt with Hugging Face's library: the independent reference."""

import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_alphabet():
    """GPT-2's printable stand-in for each byte, as {byte: character}."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    table = {b: chr(b) for b in printable}
    table.update({b: chr(256 + i) for i, b in enumerate(others)})
    return table


def metadata(reader, key, default=None):
    """Value of a metadata key."""
    field = reader.fields.get(key)
    return default if field is None else field.contents()


def pre_tokenizer(name):
    """The pre-tokenizer that tokenizer.ggml.pre names."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    if name == "gpt-2":
        return gpt2
    if name in ("llama-bpe", "qwen2"):
        pattern = LLAMA3 if name == "llama-bpe" else LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
        return pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    sys.exit(f"pre-tokenizer '{name}' is not known to this reference; add it to hf_tokenizer.py")


def load(path):
    """(tokenizer without special tokens, tokenizer with them, GGUFReader)."""
    reader = GGUFReader(path)
    tokens = metadata(reader, "tokenizer.ggml.tokens")
    types = metadata(reader, "tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    merges = [tuple(m.split(" ")) for m in metadata(reader, "tokenizer.ggml.merges")]
    name = metadata(reader, "tokenizer.ggml.pre")
    special = {i for i, t in enumerate(types) if t in (UNKNOWN, CONTROL, USER_DEFINED)}
    # The special ids stay in the vocabulary, under names that no text can spell.
    vocab = {t if i not in special else f"\0{i}": i for i, t in enumerate(tokens)}

    def build(with_special):
        names = dict(vocab)
        if with_special:
            names = {t: i for i, t in enumerate(tokens)}
        tok = Tokenizer(models.BPE(vocab=names, merges=merges,
                                   ignore_merges=name == "llama-bpe"))
        tok.pre_tokenizer = pre_tokenizer(name)
        tok.decoder = decoders.ByteLevel()
        if with_special:
            tok.add_special_tokens([AddedToken(tokens[i], special=True, normalized=False)
                                    for i in sorted(special)])
        return tok

    return build(False), build(True), reader
