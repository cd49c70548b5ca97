# SPDX-License-Identifier: MIT
"""As much of syzlang as dev_sluice.txt uses: parsed, with the layout that it has on amd64."""

import re

TOKEN = re.compile(r'\s*(?:(#.*)|("[^"]*"|<[^>]*>)|([A-Za-z_][\w$]*)|(-?0x[0-9a-fA-F]+|-?\d+)|(.))')
INTS = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "intptr": 8}
LENGTHS = {"len", "bytesize", "bitsize"}
BUILTIN = set(INTS) | LENGTHS | {"const", "flags", "ptr", "ptr64", "vma", "string", "array",
                                 "buffer"}


class Wrong(Exception):
    """The description breaks a rule; the message says where and which."""


class Type:
    """A type or a value: NAME, bits of a bitfield or end of a range, arguments."""

    def __init__(self, name, colon=None, args=()):
        self.name, self.colon, self.args = name, colon, list(args)

    def instance(self, with_args):
        """The same with the parameters of a template replaced."""
        if self.name in with_args and not self.args and self.colon is None:
            return with_args[self.name]
        return Type(self.name, self.colon, [a.instance(with_args) for a in self.args])

    def walk(self):
        yield self
        for arg in self.args:
            yield from arg.walk()

    def key(self):
        args = "[" + ", ".join(a.key() for a in self.args) + "]" if self.args else ""
        return self.name + (f":{self.colon}" if self.colon is not None else "") + args


class Struct:
    def __init__(self, name, params, line):
        self.name, self.params, self.line = name, params, line
        self.fields = []		# (name, Type, "in", "out", "inout" or None)
        self.align = None


class Line:
    """The tokens of one line, read from the left."""

    def __init__(self, text, number):
        self.number, self.at = number, 0
        self.tokens = [m.group(m.lastindex) for m in TOKEN.finditer(text)
                       if m.lastindex and m.group(m.lastindex).strip() and m.lastindex != 1]

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self, *wanted):
        token = self.peek()
        if token is None or (wanted and token not in wanted):
            wanted = " or ".join(wanted) or "more"
            raise Wrong(f"line {self.number}: {token!r} where {wanted} belongs")
        self.at += 1
        return token

    def take(self, token):
        if self.peek() == token:
            self.at += 1
            return True
        return False

    def end(self):
        if self.peek() is not None:
            raise Wrong(f"line {self.number}: {self.peek()!r} is left over")

    def type(self):
        name, colon, args = self.next(), None, []
        if self.take(":"):
            colon = self.next()
        if self.take("["):
            args.append(self.type())
            while self.take(","):
                args.append(self.type())
            self.next("]")
        return Type(name, colon, args)

    def list(self):
        values = [self.next()]
        while self.take(","):
            values.append(self.next())
        self.end()
        return values


class Description:
    def __init__(self, text):
        self.includes, self.defines, self.resources = [], {}, {}
        self.calls, self.structs, self.flags = {}, {}, {}
        self.open = None
        for number, line in enumerate(text.split("\n"), 1):
            if re.match(r"define\s", line):
                _, name, value = line.split(None, 2)
                self.add(self.defines, name, value, number)
                continue
            self.line(Line(line, number))
        if self.open:
            raise Wrong(f"line {self.open.line}: {self.open.name} has no end")

    @staticmethod
    def add(table, name, what, number):
        if name in table:
            raise Wrong(f"line {number}: {name} is described twice")
        table[name] = what

    def line(self, line):
        if line.peek() is None:
            return
        if self.open:
            self.field(line)
            return
        word = line.next()
        if word == "meta":
            return
        if word == "include":
            self.includes.append(line.next()[1:-1])
            line.end()
        elif word == "resource":
            name = line.next()
            line.next("[")
            base = line.next()
            line.next("]")
            special = line.list() if line.take(":") else []
            self.add(self.resources, name, (base, special), line.number)
        elif word == "type":
            name, params = line.next(), []
            line.next("[")
            while not line.take("]"):
                params.append(line.next())
                line.take(",")
            self.struct(name, params, line)
        elif line.peek() == "{":
            self.struct(word, [], line)
        elif line.take("="):
            self.add(self.flags, word, line.list(), line.number)
        else:
            self.call(word, line)

    def struct(self, name, params, line):
        line.next("{")
        line.end()
        self.open = Struct(name, params, line.number)
        self.add(self.structs, name, self.open, line.number)

    def field(self, line):
        if line.take("}"):
            if line.take("["):
                attribute = line.type()
                if attribute.name != "align":
                    raise Wrong(f"line {line.number}: attribute {attribute.name} is not known here")
                self.open.align = int(attribute.args[0].name, 0)
                line.next("]")
            line.end()
            self.open = None
            return
        name, kind, way = line.next(), line.type(), None
        if line.take("("):
            way = line.next("in", "out", "inout")
            line.next(")")
        line.end()
        self.open.fields.append((name, kind, way))

    def call(self, name, line):
        args = []
        line.next("(")
        while not line.take(")"):
            args.append((line.next(), line.type()))
            line.take(",")
        result = line.next() if line.peek() else None
        line.end()
        self.add(self.calls, name, (args, result), line.number)

    # ---- what a type is in memory ----

    def value(self, text, consts):
        if re.match(r"-?\d", text):
            return int(text, 0)
        if text not in consts:
            raise Wrong(f"{text} is no constant")
        return consts[text]

    def size(self, kind, consts):
        """(bytes, alignment, bits of a bitfield or None)"""
        name, args = kind.name, kind.args
        if name in INTS:
            return INTS[name], INTS[name], int(kind.colon) if kind.colon else None
        if name in ("const", "flags") or name in LENGTHS:
            return self.size(args[-1], consts)
        if name in ("ptr", "ptr64"):
            return 8, 8, None
        if name == "string" and len(args) == 2:
            return self.value(args[1].name, consts), 1, None
        if name == "array" and len(args) == 2 and args[1].colon is None:
            size, align, _ = self.size(args[0], consts)
            return size * self.value(args[1].name, consts), align, None
        if name in self.resources:
            return self.size(Type(self.resources[name][0]), consts)
        if name in ("fd", "uid", "gid"):
            return 4, 4, None
        if name in self.structs:
            layout = self.layout(name, args, consts)
            return layout["size"], layout["align"], None
        raise Wrong(f"the size of {kind.key()} is not known")

    def layout(self, name, args, consts):
        """size, align, and for each field its (offset, size); of bitfields (bit, bits)"""
        struct = self.structs[name]
        if len(args) != len(struct.params):
            raise Wrong(f"{name} takes {len(struct.params)} arguments")
        with_args = dict(zip(struct.params, args))
        at, most, bit, fields = 0, 1, 0, {}
        for field, kind, _ in struct.fields:
            size, align, bits = self.size(kind.instance(with_args), consts)
            most = max(most, align)
            if bits is None:
                at = (at + bit // 8 + align - 1) // align * align
                fields[field] = (at, size)
                at, bit = at + size, 0
                continue
            fields[field] = (at * 8 + bit, bits)
            bit += bits
            if bit > size * 8:
                raise Wrong(f"{name}.{field} crosses its {size * 8} bits")
            if bit == size * 8:
                at, bit = at + size, 0
        most = struct.align or most
        return {"size": (at + bit // 8 + most - 1) // most * most, "align": most, "fields": fields}

    # ---- what is named where ----

    def types(self):
        """(where, Type, direction, argument or not, names beside it) of every argument and field"""
        done = set()
        pending = [(f"{call}({arg})", kind, "in", True, [a for a, _ in args])
                for call, (args, _) in self.calls.items() for arg, kind in args]
        while pending:
            where, kind, way, is_arg, beside = pending.pop()
            yield where, kind, way, is_arg, beside
            if kind.name in ("ptr", "ptr64"):
                pending.append((where, kind.args[1], kind.args[0].name, False, []))
            elif kind.name == "array":
                pending.append((where, kind.args[0], way, False, []))
            elif kind.name in self.structs and (kind.key(), way) not in done:
                done.add((kind.key(), way))
                struct = self.structs[kind.name]
                if len(kind.args) != len(struct.params):
                    raise Wrong(f"{where}: {kind.name} takes {len(struct.params)} arguments")
                with_args = dict(zip(struct.params, kind.args))
                pending += [(f"{struct.name}.{field}", k.instance(with_args), w or way, False,
                          ["parent"] + [f for f, _, _ in struct.fields])
                         for field, k, w in struct.fields]

    def names(self):
        """The constants that the file uses, as syz-extract would look for them."""
        found = set(self.defines)
        found |= {"__NR_" + c.split("$")[0] for c in self.calls if not c.startswith("syz_")}
        words = [v for values in self.flags.values() for v in values]
        words += [v for _, values in self.resources.values() for v in values]
        for _, kind, *_ in self.types():
            for part in kind.walk():
                words += [part.name, part.colon or ""]
        return found | {w for w in words if re.match(r"[A-Z]", w)}
