#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare the product's tokenizer, detokeniser and chat template with Hugging Face's and Jinja.

Prints TAP. Lines are generated from a seed, so a failure can be repeated.

example: tokenizer_compare.py --tool build/tests/tokenize_lines smollm2.gguf
"""

import argparse
import random
import struct
import subprocess
import sys
import unicodedata

import jinja2

from hf_tokenizer import byte_alphabet, load, metadata

WORDS = ("the quick brown fox jumps over lazy dogs It's we're they'll I'd can't don't you've I'm "
         "O'Neill rock'n'roll 'tis hello world antidisestablishmentarianism naïve café Straße "
         "data-driven end-to-end e.g. i.e. U.S.A. HTTP/1.1 x86_64 C++20 utf8 mRNA eBPF").split(" ")
CODE = """int main(int argc, char **argv) { return argc > 1 ? atoi(argv[1]) : 0; }
\tfor (size_t i = 0; i < n; i++) { sum += a[i] * b[i]; }
def f(x: int) -> int:\n    return x ** 2 + 1  # comment
    if not isinstance(x, (int, float)):\n        raise TypeError(f"bad {x!r}")
SELECT * FROM t WHERE a <= 10 AND b LIKE '%foo%';
<div class="row"><a href="https://example.org/?q=1&r=2">link</a></div>
fn main() -> Result<(), Box<dyn Error>> { println!("{:?}", vec![1, 2, 3]); Ok(()) }
{"key": [1.5e-10, null, true, "\\u00e9"], "nested": {"a": {}}}
#define MAX(a, b) ((a) > (b) ? (a) : (b))
$ ls -la | grep '^d' | awk '{print $9}' > /tmp/out.txt 2>&1 &
x86: mov    %rax,0x18(%rsp)\r\n\tjne    401136 <main+0x26>
~/.config/foo/bar.toml:17:3: error: expected `;`, found `}`""".split("\n")
EMOJI = ("😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☃ ⚠️ 1️⃣ 🧑🏿‍🚀 🫠 🪿").split(" ")
SCRIPTS = ["你好，世界！这是一个测试。", "日本語のテキストです。カタカナ", "한국어 텍스트 예시", "Привет, мир! Ёлка",
           "مرحبا بالعالم ١٢٣٤", "שלום עולם", "नमस्ते दुनिया १२३", "สวัสดีชาวโลก", "Γειά σου Κόσμε",
           "Tiếng Việt có dấu", "İstanbul ıIiİ", "ﬁ ﬂ ﬀ ŉ ǆ", "𝒳𝓎𝓏 𝟘𝟙𝟚 𐍈 𒀀", "½ ² Ⅷ ① ㊿ ৴ 〇 ፩"]
SPACES = (" \t\n\r\v\f\u0085\u00a0\u1680\u180e\u2000"
          "\u2003\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff")


def random_text(rng, parts):
    """A line of some parts, joined by a little of anything."""
    joints = [" ", "  ", "", "\n", "\n\n", "\t", " \n ", "   ", ", ", " - "]
    return "".join(rng.choice(parts) + rng.choice(joints) for _ in range(rng.randint(1, 12)))


def combining(rng):
    """Letters under piles of marks."""
    marks = [chr(c) for c in range(0x300, 0x370) if unicodedata.combining(chr(c))]
    return "".join(rng.choice("aeiouAEIOUnñ한ก") +
                   "".join(rng.choice(marks) for _ in range(rng.randint(0, 4)))
                   for _ in range(rng.randint(1, 20)))


def any_char(rng):
    """A random assigned character outside the surrogates and the private planes."""
    while True:
        c = chr(rng.choice([rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x10000),
                            rng.randrange(0x20000)]))
        # What Unicode added after the libraries' tables were made is no matter of ours.
        if unicodedata.category(c) not in ("Cs", "Cn", "Co"):
            return c


def make_lines(rng, count):
    """Valid text of many kinds."""
    makers = [
        lambda: random_text(rng, WORDS),
        lambda: random_text(rng, CODE),
        lambda: random_text(rng, EMOJI + WORDS),
        lambda: random_text(rng, SCRIPTS),
        lambda: random_text(rng, SCRIPTS + EMOJI + CODE + WORDS),
        lambda: random_text(rng, [str(rng.randrange(10 ** rng.randint(1, 15))) for _ in range(5)]
                            + ["3.14159", "1,000,000", "0x7fff", "1e-9", "٣٤", "½", "2nd"]),
        lambda: "".join(rng.choice(SPACES) * rng.randint(1, 4) for _ in range(rng.randint(1, 8))),
        lambda: "".join(rng.choice(SPACES + "ab1.'") for _ in range(rng.randint(1, 40))),
        lambda: "".join(chr(rng.randrange(0x20)) + rng.choice(["", "x", " ", "9"])
                        for _ in range(rng.randint(1, 20))),
        lambda: combining(rng),
        lambda: "".join(any_char(rng) for _ in range(rng.randint(1, 60))),
        lambda: rng.choice(["a", "ab", "=", "-", "\n", " ", "é", "中", "😀"]) * rng.randint(1, 300),
        lambda: rng.choice(WORDS) + rng.choice(["'s", "'S", "'ll", "'Ve", "’s", "'"]) + " end",
    ]
    fixed = ["", " ", "  a", "a  ", "a  b", "\n", "\0", "a\0b", "<|im_start|>user\nhi<|im_end|>",
             "<|im_start|", "<|endoftext|>", "'s't're've'm'll'd", "\x7f", "\u0085\u0085a"]
    return fixed + [makers[i % len(makers)]() for i in range(count - len(fixed))]


def make_broken(rng, count):
    """Byte strings of which most are not UTF-8."""
    seeds = [b"\xff", b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xed\xa0\x80", b"\x80",
             b"\xf4\x90\x80\x80", b"\xf5", b"\xe2\x28\xa1", b"abc", b" ", b"\n", "é".encode(),
             "中文".encode(), "😀".encode(), b"42", b"'s", b"   "]
    lines = [bytes(rng.randrange(256) for _ in range(rng.randint(1, 40)))
             for _ in range(count // 2)]
    return lines + [b"".join(rng.choice(seeds) for _ in range(rng.randint(1, 15)))
                    for _ in range(count - len(lines))]


def run_tool(tool, model, records, *options):
    """Output lines of tokenize_lines for these byte strings."""
    data = b"".join(struct.pack("<I", len(r)) + r for r in records)
    done = subprocess.run([tool, model, *options], input=data, stdout=subprocess.PIPE, check=True)
    lines = done.stdout.decode().split("\n")[:-1]
    if len(lines) != len(records):
        sys.exit(f"{tool}: {len(records)} records in, {len(lines)} lines out")
    return lines


def split_shape(data):
    """Text in which each ill-formed byte is U+0001, and for each of its characters its bytes."""
    chars, pos = [], 0
    while pos < len(data):
        for size in (1, 2, 3, 4):
            try:
                text = data[pos:pos + size].decode()
            except UnicodeDecodeError:
                continue
            chars.append((text, data[pos:pos + size]))
            break
        else:
            size = 1
            chars.append(("\x01", data[pos:pos + 1]))
        pos += size
    return chars


def encode_broken(tok, data):
    """What the documented treatment of ill-formed bytes gives, by Hugging Face's parts."""
    chars = split_shape(data)
    alphabet = byte_alphabet()
    ids = []
    shape = "".join(text for text, _ in chars)
    for _, (start, end) in tok.pre_tokenizer.pre_tokenize_str(shape):
        raw = b"".join(b for _, b in chars[start:end])
        ids += [t.id for t in tok.model.tokenize("".join(alphabet[b] for b in raw))]
    return ids


class Tap:
    """Test points, with the first few differences of each."""

    def __init__(self):
        self.n = self.failed = 0

    def compare(self, name, inputs, got, want):
        self.n += 1
        bad = [i for i in range(len(want)) if got[i] != want[i]]
        for i in bad[:5]:
            print(f"# {inputs[i]!r}\n#   got  {got[i]}\n#   want {want[i]}")
        print(f"{'not ok' if bad else 'ok'} {self.n} - {name}: {len(want)} inputs"
              + (f", {len(bad)} differ" if bad else ""))
        self.failed += bool(bad)

    def finish(self):
        print(f"1..{self.n}")
        return 1 if self.failed else 0


def numbers(lines):
    """Lines of ids as lists."""
    return [[int(n) for n in line.split()] for line in lines]


def check_decode(tap, tool, model, records, tok, alphabet):
    """Decoding gives back the bytes, made valid UTF-8 as Python does it."""
    have = {b for b, c in alphabet.items() if tok.token_to_id(c) is not None}
    want = [bytes(b for b in r if b in have).decode(errors="replace").encode().hex()
            for r in records]
    tap.compare("decoding one token at a time", records, run_tool(tool, model, records, "--decode"),
                want)


def check_chat(tap, tool, model, lines, tok, reader):
    """The conversation's ids against the model's own template in Jinja."""
    source = metadata(reader, "tokenizer.chat_template")
    if source is None:
        return
    template = jinja2.Environment(keep_trailing_newline=True).from_string(source)
    lines = [t for t in lines if "<|" not in t]
    want = [tok.encode(template.render(messages=[{"role": "user", "content": t}],
                                       add_generation_prompt=True),
                       add_special_tokens=False).ids for t in lines]
    got = numbers(run_tool(tool, model, [t.encode() for t in lines], "--chat"))
    tap.compare("chat template", lines, got, want)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="GGUF file")
    parser.add_argument("--tool", required=True, help="the program tokenize_lines")
    parser.add_argument("--lines", type=int, default=6000, help="valid lines (default %(default)s)")
    parser.add_argument("--broken", type=int, default=2000, help="lines of ill-formed UTF-8")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    plain, special, reader = load(args.model)
    tap = Tap()

    lines = make_lines(rng, args.lines)
    records = [line.encode() for line in lines]
    got = numbers(run_tool(args.tool, args.model, records))
    want = [plain.encode(line, add_special_tokens=False).ids for line in lines]
    tap.compare("plain text", lines, got, want)

    marked = [rng.choice(["", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>"]) + line
              + rng.choice(["", "<|im_end|>", "<|im_end|>\n"]) for line in lines[:1000]]
    got = numbers(run_tool(args.tool, args.model, [m.encode() for m in marked], "--special"))
    want = [special.encode(m, add_special_tokens=False).ids for m in marked]
    tap.compare("text with special tokens", marked, got, want)

    broken = make_broken(rng, args.broken)
    got = numbers(run_tool(args.tool, args.model, broken))
    tap.compare("ill-formed UTF-8", broken, got, [encode_broken(plain, b) for b in broken])

    check_decode(tap, args.tool, args.model, records[:1500] + broken, plain, byte_alphabet())
    check_chat(tap, args.tool, args.model, lines[:1000], special, reader)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
