#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz targets to tests/fuzz/corpus/TARGET/seed-NAME.

Other files there are inputs that found a bug once; they stay. Run this after a format has changed.
example: tests/fuzz/make_seeds.py && make check-fuzz EXECS=100000
"""
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
U32, F32, STRING, ARRAY, BOOL = 4, 6, 8, 9, 7


def u32(v):
    return struct.pack("<I", v)


def u64(v):
    return struct.pack("<Q", v)


def text(s):
    data = s if isinstance(s, bytes) else s.encode()
    return u64(len(data)) + data


def value(kind, v):
    if kind == U32:
        return u32(v)
    if kind == F32:
        return struct.pack("<f", v)
    if kind == BOOL:
        return bytes([v])
    if kind == STRING:
        return text(v)
    elem, items = v
    return u32(elem) + u64(len(items)) + b"".join(value(elem, i) for i in items)


def gguf(entries, tensors, align=32):
    """tensors: name, dimensions, GGML type, bytes."""
    head = b"GGUF" + u32(3) + u64(len(tensors)) + u64(len(entries))
    for key, kind, v in entries:
        head += text(key) + u32(kind) + value(kind, v)
    data = b""
    for name, dims, kind, size in tensors:
        head += text(name) + u32(len(dims)) + b"".join(u64(d) for d in dims)
        head += u32(kind) + u64(len(data))
        data += bytes(i % 251 for i in range(size)) + b"\0" * (-size % align)
    return head + b"\0" * (-len(head) % align) + data


def model_seeds():
    sizes = [("general.architecture", STRING, "llama")]
    sizes += [("llama." + k, U32, v) for k, v in (
        ("block_count", 1), ("embedding_length", 4), ("feed_forward_length", 2),
        ("context_length", 8), ("attention.head_count", 2))]
    sizes += [("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)]
    block = [("attn_norm", [4]), ("attn_q", [4, 4]), ("attn_k", [4, 4]), ("attn_v", [4, 4]),
             ("attn_output", [4, 4]), ("ffn_norm", [4]), ("ffn_gate", [4, 2]), ("ffn_up", [4, 2]),
             ("ffn_down", [2, 4])]
    tensors = [("token_embd.weight", [4, 3], 1, 24), ("output_norm.weight", [4], 1, 8)]
    for name, dims in block:
        size = 2 * dims[0] * (dims[1] if len(dims) > 1 else 1)
        tensors.append((f"blk.0.{name}.weight", dims, 1, size))
    yield "model", gguf(sizes, tensors)
    # one tensor of each block format
    formats = ((0, 1, 4), (1, 1, 2), (2, 32, 18), (3, 32, 20), (6, 32, 22), (7, 32, 24), (8, 32, 34),
               (30, 1, 2))
    yield "formats", gguf([], [(f"t{t}", [elems], t, size) for t, elems, size in formats])
    formats = ((10, 256, 84), (11, 256, 110), (12, 256, 144), (13, 256, 176), (14, 256, 210))
    yield "k-formats", gguf([("general.alignment", U32, 8)],
                            [(f"t{t}", [elems], t, size) for t, elems, size in formats], 8)
    yield "tokenizer", gguf([
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "smollm"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, ["a", "b", "ab", "<x>"])),
        ("tokenizer.ggml.token_type", ARRAY, (U32, [1, 1, 1, 3])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, ["a b"])),
        ("tokenizer.ggml.bos_token_id", U32, 3), ("tokenizer.ggml.add_bos_token", BOOL, 1),
        ("tokenizer.chat_template", STRING, "{{x}}")], [])


def encode_seeds():
    words = "Hello, I'll count 1234 \u00e4\u4e2d\u6587 aa  \n\n\tworld's  <|im_start|>hello<|im_end|>"
    for choice in range(8):
        yield f"words{choice}", bytes([choice]) + words.encode()
    yield "broken", b"\x04a\xff\xc3(\xe0\x80\xed\xa0\x80\xf0\x9f\x98<|im_"


def vocabulary_seeds():
    tokens = "1h\n1e\n1l\n1he\n1ll\n1hell\n3<|im_start|>\n3<|im_end|>\n4hey\n5zz\n2<unk>"
    merges = "h e\nl l\nhe ll"
    for options in (0, 5, 2, 3):
        yield f"words{options}", bytes([options]) + "\0".join(
            (tokens, merges, "{{ x }}", "hello hey <|im_start|>hell")).encode()
    yield "untyped", b"\x0c1a\n1b\n1ab\0a b\0\0abab"


CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
          "{{ '<|im_start|>system\\nBe tiny<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + "
          "message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def chat_seeds():
    yield "usual", b"\x01\0user\0hello there"
    yield "template", b"\x01" + CHATML.encode() + b"\0user\0hello\0assistant\0hi"
    yield "system", b"\x00\0system\0be brief\0user\0<|im_end|>\n<|im_start|>system\0"


def toml_seeds():
    yield "small", b"""[pipeline]
name = "p"
ready_timeout = "5s"
[variables]
model = "${MODEL:-/m}"
n = 2
[[stage]]
name = "a"
slots = 64
buffers = 4
buffer_size = "64K"
accepts = ["tokens:i32[?]", "image/png <= 4M"]
policy = "shared"
mode = "0660"
owner = "root"
dead_letters = 64
dead_stops = true
command = ["true", "--model", "${model}", "$${x}"]
environment = { A = "1" }
replicas = "${n}"
restart = "on-failure"
[client]
embedding = "a"
"""
    yield "values", b"""a = 1.5e3
b = 0x1F
c = [1, [2], "x\\u00e9"]
d = 1979-05-27T07:32:00Z
e.f = '''q'''
g = { h = inf }
"""


def hop(stage):
    return struct.pack("<QQQIBBH", 1, 2, 3, 4, stage, 1, 1)


def head(kind, n_tokens, n_turns, stops, data, n_hops=0, error=0, flags=0, n_embd=4):
    align = lambda n: (n + 63) // 64 * 64
    hops = b"".join(hop(i % 4) for i in range(n_hops)).ljust(12 * 32, b"\0")
    fixed = 24 + 8 + 4 * 14 + 64
    size = align(align(align(fixed + len(hops)) + 4 * n_tokens) + len(stops)) + len(data)
    n_prompt = max(0, n_tokens - 1) if kind not in (2, 3) else n_tokens
    body = struct.pack("<IHHIIQff", 0x45534c53, 2, kind, size, flags, 7, 0.8, 0.9)
    body += struct.pack("<14I", 40, 16, 64, n_embd, n_prompt, n_tokens, n_turns,
                        stops.count(b"\0"), len(stops), len(data), error, 2, n_hops, 0)
    body = (body + b"reply.1".ljust(64, b"\0") + hops).ljust(align(fixed + len(hops)), b"\0")
    body = (body + b"".join(u32(i) for i in range(n_tokens))).ljust(
        align(len(body) + 4 * n_tokens), b"\0")
    return (body + stops).ljust(size - len(data), b"\0") + data


def message_seeds():
    """One byte: bit 7: head and slot are made to agree; then kind, counter, payload."""
    def message(kind, counter, payload, fix=0):
        return bytes([fix]) + struct.pack("<HI", kind, counter) + payload
    turns = struct.pack("<II", 0, 2) + b"hi\0\0" + struct.pack("<II", 1, 5) + b"hello\0\0\0"
    yield "request", message(1, 0, head(1, 0, 2, b"stop\0end\0", turns))
    yield "raw", message(1, 0, head(1, 0, 0, b"", b"once upon", flags=1))
    yield "prefill", message(2, 3, head(2, 3, 0, b"x\0", bytes(48), n_hops=1))
    yield "step", message(4, 3, head(4, 3, 0, b"", bytes(16), n_hops=2))
    yield "token", message(6, 3, head(6, 3, 0, b"", b"", n_hops=3))
    yield "error", message(10, 0, head(10, 0, 0, b"", b"decoder\0no memory", error=12))
    reply = struct.pack("<IHHIiIIIIIIIIII", 0x45534c53, 2, 11, 0, 5, 0, 0, 3, 2, 1, 2, 2, 1, 0, 0)
    reply += b"".join(hop(i % 4) for i in range(1)).ljust(12 * 32, b"\0") + b"hi\0\0" + bytes(8)
    yield "reply", message(11, 0, reply, 0x80)


def tensor_seeds():
    """One byte: bit 7: the header's sizes are made to agree; a line of declarations; a payload."""
    def typed(modality, dtype, shape, data, media=b"", rate=0):
        dims = struct.pack("<8I", *shape, *[0] * (8 - len(shape)))
        return b"\x93SLT" + bytes([1, modality, dtype, len(shape)]) + dims + \
            struct.pack("<II16s", len(data), rate, media) + data
    yield "image", b"\0image:u8[?,?,3], image/png <= 4K\0" + typed(7, 6, [2, 3, 3], bytes(18))
    yield "png", b"\0image/*, text\0" + typed(7, 6, [8], b"\x89PNG\r\n\x1a\n", b"png")
    yield "audio", b"\0audio:f32[?]@16000<=1M\0" + typed(8, 1, [4], bytes(16), rate=16000)
    yield "tokens", b"\x80tokens:i32[3],kv:bf16[2,?]\0" + typed(2, 9, [3], bytes(12))
    yield "scalar", b"\0control:bool[]\0" + typed(9, 13, [], b"\1")
    yield "empty", b"\0hidden:?[0,576]\0" + typed(4, 2, [0, 576], b"")
    yield "untyped", b"\0text\0hello"
    yield "wrong", b"\0tokns:int32[?\0" + typed(2, 9, [65536] * 4, b"")


def call_seeds():
    """Messages: options, length, envelope and data; see fuzz_call.c."""
    def reply(index, data, error=0, version=1):
        return b"\x94SLR" + struct.pack("<HHQ", version, error, (100 + index) << 16 | index) + data
    def messages(*all_of_them):
        return b"".join(bytes([0, len(m)]) + m for m in all_of_them)
    yield "all", messages(*(reply(i, b"answer") for i in (2, 0, 3, 1)))
    yield "twice", messages(reply(1, b"first"), reply(1, b"second"), reply(9, b"whose?"))
    yield "refused", messages(reply(0, b"no such language", 33), reply(1, b"\x1b[2J\n", 22))
    yield "wrong", messages(reply(0, b"", version=2), reply(0, b"", 4096), b"short", b"")
    yield "request", messages(b"\x94SLQ" + struct.pack("<HHQQQ", 1, 0, 5, 6, 7) + b"data")
    yield "large", b"\x20\x40" + reply(2, bytes(range(250)) * 5)[:1024]


def ring_seeds():
    yield "mixed", bytes(range(64)) * 4
    yield "stream", bytes([0, 16, 32] * 40)


SEEDS = {"gguf": model_seeds, "encode": encode_seeds, "vocabulary": vocabulary_seeds,
         "chat": chat_seeds, "toml": toml_seeds, "message": message_seeds, "tensor": tensor_seeds,
         "call": call_seeds,
         "ring": ring_seeds, "slots": ring_seeds}


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    for target, seeds in SEEDS.items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (folder / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
