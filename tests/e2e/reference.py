#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An independent llama forward pass in numpy, f32, greedy: what the pipeline is compared with.

It shares no code with the product: the GGUF reader and dequantisation are PyPI's gguf, the
tokenizer is Hugging Face's, the template is rendered by Jinja. Prints one JSON object:

  prompt_ids  ids of the prompt
  ids         ids of the continuation; an end token is the last of them if it was reached
  margins     for each id, by how much its logit exceeds the second best
  text        the continuation

Two f32 implementations add in different orders, so tokens must agree only up to the first step
where the margin is small (see compare()).

example: reference.py --raw --tokens 24 smollm2.gguf "Once upon a time"
"""

import argparse
import json
import sys

import jinja2
import numpy as np
from gguf.quants import dequantize

from hf_tokenizer import load, metadata

SMALL_MARGIN = 0.02


def compare(reference, ids, margin=SMALL_MARGIN):
    """Do these ids agree with the reference's, where it is sure? None, or what is wrong."""
    for i, (want, sure) in enumerate(zip(reference["ids"], reference["margins"])):
        if i >= len(ids):
            return f"token {i}: missing, the reference has {want}"
        if ids[i] != want:
            if sure < margin:
                return None
            return f"token {i}: {ids[i]}, the reference has {want} by a margin of {sure:.4f}"
    return None


class Llama:
    """Weights in f32, and a KV cache that grows with the text."""

    def __init__(self, reader):
        def get(key, default=None):
            return metadata(reader, f"llama.{key}", default)

        self.tensors = {t.name: t for t in reader.tensors}
        self.n_layer = get("block_count")
        self.n_head = get("attention.head_count")
        self.n_head_kv = get("attention.head_count_kv", self.n_head)
        self.eps = np.float32(get("attention.layer_norm_rms_epsilon"))
        self.embd = self.weight("token_embd")
        self.head_dim = get("attention.key_length", self.embd.shape[1] // self.n_head)
        rope_dim = get("rope.dimension_count", self.head_dim)
        base = get("rope.freq_base", 10000.0)
        self.freq = base ** (-2.0 * np.arange(rope_dim // 2) / rope_dim)
        self.rope_dim = rope_dim
        self.names = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm",
                      "ffn_gate", "ffn_up", "ffn_down")
        self.layers = [{n: self.weight(f"blk.{i}.{n}") for n in self.names}
                       for i in range(self.n_layer)]
        self.out_norm = self.weight("output_norm")
        self.out = self.weight("output") if "output.weight" in self.tensors else self.embd
        self.cache = [None] * self.n_layer

    def weight(self, name):
        """A tensor in f32, numpy's row-major shape."""
        t = self.tensors[f"{name}.weight"]
        return np.ascontiguousarray(dequantize(t.data, t.tensor_type), dtype=np.float32)

    def norm(self, x, gain):
        """RMS norm of each row."""
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * gain

    def rotate(self, x, pos):
        """Rotary embedding of adjacent pairs; x is [tokens, heads, head_dim]."""
        angle = pos[:, None] * self.freq[None, :]
        cos = np.cos(angle).astype(np.float32)[:, None, :]
        sin = np.sin(angle).astype(np.float32)[:, None, :]
        out = x.copy()
        a, b = x[..., 0:self.rope_dim:2], x[..., 1:self.rope_dim:2]
        out[..., 0:self.rope_dim:2] = a * cos - b * sin
        out[..., 1:self.rope_dim:2] = a * sin + b * cos
        return out

    def attention(self, i, layer, x, pos):
        """Causal self-attention of the new rows over the cache and themselves."""
        n = len(x)
        q = self.rotate((x @ layer["attn_q"].T).reshape(n, self.n_head, -1), pos)
        k = self.rotate((x @ layer["attn_k"].T).reshape(n, self.n_head_kv, -1), pos)
        v = (x @ layer["attn_v"].T).reshape(n, self.n_head_kv, -1)
        if self.cache[i] is not None:
            k = np.concatenate([self.cache[i][0], k])
            v = np.concatenate([self.cache[i][1], v])
        self.cache[i] = (k, v)
        mask = np.where(np.arange(len(k))[None, :] > pos[:, None], np.float32(-np.inf),
                        np.float32(0))
        heads = []
        for h in range(self.n_head):
            kv = h // (self.n_head // self.n_head_kv)
            s = q[:, h] @ k[:, kv].T / np.float32(np.sqrt(self.head_dim)) + mask
            s = np.exp(s - s.max(axis=-1, keepdims=True))
            heads.append(s / s.sum(axis=-1, keepdims=True) @ v[:, kv])
        return np.concatenate(heads, axis=-1) @ layer["attn_output"].T

    def forward(self, ids, pos0):
        """Logits after the last of these ids, which start at position pos0."""
        x = self.embd[ids]
        pos = np.arange(pos0, pos0 + len(ids), dtype=np.float64)
        for i, layer in enumerate(self.layers):
            x = x + self.attention(i, layer, self.norm(x, layer["attn_norm"]), pos)
            y = self.norm(x, layer["ffn_norm"])
            gate = y @ layer["ffn_gate"].T
            x = x + (gate / (1 + np.exp(-gate)) * (y @ layer["ffn_up"].T)) @ layer["ffn_down"].T
        return self.norm(x[-1], self.out_norm) @ self.out.T


def end_tokens(reader):
    """Ids after which the model has nothing more to say."""
    names = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
             "<|end_of_text|>", "<end_of_turn>"}
    tokens = metadata(reader, "tokenizer.ggml.tokens")
    types = metadata(reader, "tokenizer.ggml.token_type", [1] * len(tokens))
    ends = {i for i, t in enumerate(tokens) if t in names and types[i] in (2, 3)}
    return ends | {metadata(reader, "tokenizer.ggml.eos_token_id", -1),
                   metadata(reader, "tokenizer.ggml.eot_token_id", -1)}


def encode_prompt(reader, plain, special, prompt, raw):
    """Ids of a prompt as it is, or inside the model's chat template."""
    if raw:
        ids = plain.encode(prompt, add_special_tokens=False).ids
        if metadata(reader, "tokenizer.ggml.add_bos_token", False):
            ids.insert(0, metadata(reader, "tokenizer.ggml.bos_token_id"))
        return ids
    source = metadata(reader, "tokenizer.chat_template")
    if source is None:
        sys.exit("reference.py: the model has no chat template; use --raw")
    text = jinja2.Environment(keep_trailing_newline=True).from_string(source).render(
        messages=[{"role": "user", "content": prompt}], add_generation_prompt=True)
    return special.encode(text, add_special_tokens=False).ids


def generate(model, prompt_ids, n_tokens, ends):
    """Greedy ids and margins."""
    ids, margins, pos, new = [], [], 0, prompt_ids
    while len(ids) < n_tokens:
        logits = model.forward(new, pos)
        pos += len(new)
        second, best = np.argpartition(logits, -2)[-2:]
        if logits[second] >= logits[best]:
            second, best = best, second
        ids.append(int(best))
        margins.append(float(logits[best] - logits[second]))
        if ids[-1] in ends:
            break
        new = [ids[-1]]
    return ids, margins


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("prompt", help="text; '-' reads standard input")
    parser.add_argument("--raw", action="store_true", help="continue the text as it is")
    parser.add_argument("--tokens", type=int, default=24, help="at most (default %(default)s)")
    parser.add_argument("--ignore-end", action="store_true", help="go on after an end token")
    args = parser.parse_args()

    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    plain, special, reader = load(args.model)
    prompt_ids = encode_prompt(reader, plain, special, prompt, args.raw)
    if not prompt_ids:
        sys.exit("reference.py: the prompt is empty; give some text")
    ends = set() if args.ignore_end else end_tokens(reader)
    ids, margins = generate(Llama(reader), prompt_ids, args.tokens, ends)
    print(json.dumps({"prompt_ids": prompt_ids, "ids": ids, "margins": margins,
                      "text": special.decode(ids, skip_special_tokens=True)}))


if __name__ == "__main__":
    main()
