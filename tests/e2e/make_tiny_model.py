#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write a tiny llama GGUF with random weights and a real, small byte-level BPE vocabulary.

It speaks gibberish, but exercises everything: grouped heads, quantised and plain tensors, chat
template, special tokens. For machines where a real model is too slow, such as an emulated one.
The same arguments give the same file.

example: make_tiny_model.py --untied tiny.gguf
"""

import argparse
import json
import pathlib

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from hf_tokenizer import byte_alphabet

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
            "{{ '<|im_start|>system\nYou are a tiny test model<|im_end|>\n' }}{% endif %}"
            "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def train_vocabulary(size):
    """(tokens, merges) of a BPE trained on the programs in this directory."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    trainer = trainers.BpeTrainer(vocab_size=size - len(SPECIAL), show_progress=False,
                                  initial_alphabet=sorted(byte_alphabet().values()))
    here = pathlib.Path(__file__).parent
    texts = [here.joinpath(name).read_text(encoding="utf-8")
             for name in ("hf_tokenizer.py", "make_tiny_model.py", "reference.py",
                          "tokenizer_compare.py")]
    tok.train_from_iterator(texts, trainer)
    vocab = tok.get_vocab()
    tokens = SPECIAL + sorted(vocab, key=vocab.get)
    merges = [m if isinstance(m, str) else " ".join(m)
              for m in json.loads(tok.to_str())["model"]["merges"]]
    return tokens, merges


def add_vocabulary(writer, tokens, merges):
    """Tokenizer metadata as the converters write it."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * len(SPECIAL)
                           + [TokenType.NORMAL] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def add_weights(writer, args, n_vocab):
    """Random tensors, of several types. Their spread keeps logits well apart."""
    rng = np.random.default_rng(args.seed)
    kinds = GGMLQuantizationType
    head = args.embd // args.heads

    def add(name, rows, cols, spread, kind=kinds.Q4_1):
        data = rng.normal(0, spread, (rows, cols)).astype(np.float32)
        raw = data if kind == kinds.F32 else quantize(data, kind)
        writer.add_tensor(name, raw, raw_dtype=kind)

    def add_gain(name):
        writer.add_tensor(name, rng.normal(1, 0.1, args.embd).astype(np.float32))

    add("token_embd.weight", n_vocab, args.embd, 0.3, kinds.Q8_0)
    if args.untied:
        add("output.weight", n_vocab, args.embd, 0.3, kinds.F16)
    add_gain("output_norm.weight")
    wide, deep = args.embd ** -0.5, args.ff ** -0.5
    for i in range(args.layers):
        add_gain(f"blk.{i}.attn_norm.weight")
        add(f"blk.{i}.attn_q.weight", args.heads * head, args.embd, 2 * wide, kinds.Q5_1)
        add(f"blk.{i}.attn_k.weight", args.kv_heads * head, args.embd, 2 * wide, kinds.Q4_0)
        add(f"blk.{i}.attn_v.weight", args.kv_heads * head, args.embd, wide, kinds.Q5_0)
        add(f"blk.{i}.attn_output.weight", args.embd, args.heads * head, wide, kinds.BF16)
        add_gain(f"blk.{i}.ffn_norm.weight")
        add(f"blk.{i}.ffn_gate.weight", args.ff, args.embd, 2 * wide)
        add(f"blk.{i}.ffn_up.weight", args.ff, args.embd, wide)
        add(f"blk.{i}.ffn_down.weight", args.embd, args.ff, deep, kinds.F32)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="GGUF file to write")
    parser.add_argument("--vocab", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--embd", type=int, default=128)
    parser.add_argument("--ff", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--untied", action="store_true", help="an output matrix of its own")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    tokens, merges = train_vocabulary(args.vocab)
    writer = GGUFWriter(args.output, "llama")
    writer.add_name("sluice tiny random llama")
    writer.add_block_count(args.layers)
    writer.add_context_length(args.context)
    writer.add_embedding_length(args.embd)
    writer.add_feed_forward_length(args.ff)
    writer.add_head_count(args.heads)
    writer.add_head_count_kv(args.kv_heads)
    writer.add_rope_dimension_count(args.embd // args.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    add_vocabulary(writer, tokens, merges)
    add_weights(writer, args, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
