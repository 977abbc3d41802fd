"""Writes random small policies, with input and data, from a seed.

in:  a seed.
out: Policy(source, input, data): a module `package t` whose rules mix the features of the language.
owns: nothing.

Expressions are made by type, so that most policies compile; values of `input` and `data` are of any type for the
compiler, so that wrong types meet builtins at run time too.
"""
import random
import re

WORDS = ["a", "b", "c", "x-y", "é", "", "A b", "0", "12", "日本", "a.b", "\\n", "\\\"q\\\"", "1.5", "true"]
NUMBERS = ["0", "1", "2", "3", "-1", "7", "10", "0.5", "1.25", "-2.5", "100", "1e3", "9007199254740993",
           "123456789012345678901234567890", "2.0", "1e-3"]
KEYS = ["a", "b", "c", "d"]


class Policy:
    def __init__(self, source, input_, data):
        self.source, self.input, self.data = source, input_, data


def wildcards(source):
    """Declared variables that nothing uses become `_`: they would be errors."""
    for name in set(re.findall(r"(?:some|every) (v\d+)", source) + re.findall(r"(?:some|every) v\d+, (v\d+) in", source)):
        if len(re.findall(rf"\b{name}\b", source)) == 1:
            source = re.sub(rf"\b{name}\b", "_", source)
    return source


class Scope:
    """Variables by type that an expression may use; a child sees its parent's."""

    def __init__(self, parent=None):
        self.names = dict(parent.names) if parent else {}

    def of(self, *types):
        return [n for n, t in self.names.items() if t in types]


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.counter = 0
        self.rules = {}      # name → type of complete rules
        self.functions = []  # (name, arity)
        self.sets, self.objects = [], []
        self.in_call = 0

    # ---- small things ----
    def pick(self, *options):
        return self.r.choice(options)()

    def name(self, prefix="v"):
        self.counter += 1
        return f"{prefix}{self.counter}"

    def chance(self, p):
        return self.r.random() < p

    def words(self):
        return '"' + self.r.choice(WORDS) + '"'

    # ---- JSON ----
    def json(self, depth=2):
        kind = self.r.randrange(8 if depth else 5)
        if kind == 0:
            return self.r.choice(["null", "true", "false"])
        if kind in (1, 2):
            return self.r.choice(NUMBERS)
        if kind in (3, 4):
            return self.words()
        if kind == 5:
            return self.array_json(depth)
        return "{" + ",".join(f'"{k}":{self.json(depth - 1)}' for k in self.r.sample(KEYS, self.r.randrange(4))) + "}"

    def array_json(self, depth):
        return "[" + ",".join(self.json(depth - 1) for _ in range(self.r.randrange(4))) + "]"

    def document(self):
        many = lambda f: "[" + ",".join(f() for _ in range(self.r.randrange(5))) + "]"
        parts = {
            "n": lambda: self.r.choice(NUMBERS), "s": self.words, "b": lambda: self.r.choice(["true", "false"]),
            "nums": lambda: many(lambda: self.r.choice(NUMBERS[:12])), "strs": lambda: many(self.words),
            "mix": lambda: many(lambda: self.json(1)),
            "o": lambda: "{" + ",".join(f'"{k}":{self.r.choice(NUMBERS)}' for k in self.r.sample(KEYS, 3)) + "}",
            "objs": lambda: many(lambda: f'{{"k":{self.words()},"v":{self.r.choice(NUMBERS[:8])}}}'),
            "deep": lambda: self.json(3),
        }
        members = []
        for key, make in parts.items():
            if self.chance(0.9):
                members.append(f'"{key}":{make() if self.chance(0.93) else self.json(1)}')
        return "{" + ",".join(members) + "}"

    # ---- expressions ----
    def root(self):
        return self.r.choice(["input", "input", "data.d"])

    def known(self, scope, *types):
        """A variable or rule of one of these types, or None."""
        if len(types) > 1 and self.chance(0.7):
            types = types[:1]  # "any" is often of another type for the compiler
        options = scope.of(*types) + [n for n, t in self.rules.items() if t in types]
        return self.r.choice(options) if options and self.chance(0.6) else None

    def number(self, s, d):
        name = self.known(s, "number", "any")
        if name:
            return name
        if d <= 0:
            return self.pick(lambda: self.r.choice(NUMBERS), lambda: self.root() + ".n")
        return self.pick(
            lambda: self.r.choice(NUMBERS),
            lambda: self.root() + ".n",
            lambda: self.root() + f".o.{self.r.choice(KEYS)}",
            lambda: f"({self.number(s, d - 1)} {self.r.choice('+-*/%')} {self.number(s, d - 1)})",
            lambda: f"count({self.collection(s, d - 1)})",
            lambda: f"{self.r.choice(['sum', 'max', 'min', 'product'])}({self.array(s, d - 1, 'number')})",
            lambda: f"{self.r.choice(['abs', 'round', 'ceil', 'floor'])}({self.number(s, d - 1)})",
            lambda: f"to_number({self.string(s, d - 1)})",
            lambda: f"indexof({self.string(s, d - 1)}, {self.string(s, d - 1)})",
            lambda: f"bits.{self.r.choice(['and', 'or', 'xor'])}({self.number(s, d - 1)}, {self.number(s, d - 1)})",
        )

    def string(self, s, d):
        name = self.known(s, "string", "any")
        if name:
            return name
        if d <= 0:
            return self.pick(self.words, lambda: self.root() + ".s")
        return self.pick(
            self.words,
            lambda: self.root() + ".s",
            lambda: f"concat({self.words()}, {self.array(s, d - 1, 'string')})",
            lambda: f'sprintf("%v|%s", [{self.any(s, d - 1)}, {self.any(s, d - 1)}])',
            lambda: f'sprintf("%d %05.2f %x %q", [{self.number(s, 0)}, {self.number(s, 0)}, {self.number(s, 0)}, {self.string(s, 0)}])',
            lambda: f"{self.r.choice(['upper', 'lower', 'trim_space', 'base64.encode', 'urlquery.encode', 'hex.encode'])}({self.string(s, d - 1)})",
            lambda: f"{self.r.choice(['trim', 'trim_left', 'trim_right', 'trim_prefix', 'trim_suffix'])}({self.string(s, d - 1)}, {self.words()})",
            lambda: f"replace({self.string(s, d - 1)}, {self.words()}, {self.words()})",
            lambda: f"substring({self.string(s, d - 1)}, {self.r.randrange(-1, 4)}, {self.r.randrange(-1, 4)})",
            lambda: f"format_int({self.number(s, d - 1)}, {self.r.choice([2, 8, 10, 16])})",
            lambda: f"json.marshal({self.any(s, d - 1)})",
            lambda: f"type_name({self.any(s, d - 1)})",
            lambda: f"strings.reverse({self.string(s, d - 1)})",
            lambda: f'$"<{{{self.any(s, d - 1)}}}>"',
        )

    def boolean(self, s, d):
        if d <= 0:
            return self.pick(lambda: self.root() + ".b", lambda: self.r.choice(["true", "false"]))
        a = lambda make: make(s, d - 1)
        return self.pick(
            lambda: self.root() + ".b",
            lambda: f"{a(self.number)} {self.r.choice(['<', '<=', '>', '>=', '==', '!='])} {a(self.number)}",
            lambda: f"{a(self.any)} {self.r.choice(['==', '!=', '<', '>='])} {a(self.any)}",
            lambda: f"{self.r.choice(['contains', 'startswith', 'endswith'])}({a(self.string)}, {a(self.string)})",
            lambda: f"is_{self.r.choice(['number', 'string', 'array', 'object', 'set', 'null', 'boolean'])}({a(self.any)})",
            lambda: f"{a(self.any)} in {a(self.collection)}",
            lambda: f"{self.words()}, {a(self.any)} in {a(self.object)}",
            lambda: f"regex.match({self.r.choice(['`^a`', '`[0-9]+`', '`b$`'])}, {a(self.string)})",
            lambda: f"glob.match({self.words()}, [], {a(self.string)})",
        )

    def terms(self, s, d, kind):
        make = {"number": self.number, "string": self.string, "any": self.any}[kind]
        return ", ".join(make(s, d) for _ in range(self.r.randrange(4)))

    def array(self, s, d, kind="any"):
        field = {"number": "nums", "string": "strs", "any": "mix"}[kind]
        name = self.known(s, "array") if kind == "any" else None
        if name:
            return name
        if d <= 0:
            return self.pick(lambda: f"{self.root()}.{field}", lambda: f"[{self.terms(s, 0, kind)}]")
        return self.pick(
            lambda: f"{self.root()}.{field}",
            lambda: f"[{self.terms(s, d - 1, kind)}]",
            lambda: self.comprehension(s, d - 1, kind, "[]"),
            lambda: f"array.concat({self.array(s, d - 1, kind)}, {self.array(s, d - 1, kind)})",
            lambda: f"array.slice({self.array(s, d - 1, kind)}, {self.r.randrange(-1, 3)}, {self.r.randrange(0, 4)})",
            lambda: f"array.reverse({self.array(s, d - 1, kind)})",
            lambda: f"sort({self.set(s, d - 1, kind)})",
            *([lambda: f"split({self.string(s, d - 1)}, {self.words()})"] if kind != "number" else []),
            *([lambda: f"numbers.range({self.r.randrange(-2, 3)}, {self.r.randrange(-2, 5)})"] if kind != "string" else []),
        )

    def set(self, s, d, kind="any"):
        name = self.known(s, "set") if kind == "any" else None
        if name:
            return name
        if kind == "any" and self.sets and self.chance(0.3):
            return self.r.choice(self.sets)
        if d <= 0:
            inner = self.terms(s, 0, kind)
            return f"{{{inner}}}" if inner else "set()"
        return self.pick(
            lambda: self.set(s, 0, kind),
            lambda: self.comprehension(s, d - 1, kind, "{}"),
            lambda: f"({self.set(s, d - 1, kind)} {self.r.choice('|&-')} {self.set(s, d - 1, kind)})",
            lambda: f"union({{{self.set(s, 0, kind)}, {self.set(s, 0, kind)}}})",
            *([lambda: f"object.keys({self.object(s, d - 1)})"] if kind == "any" else []),
        )

    def object(self, s, d):
        name = self.known(s, "object")
        if name:
            return name
        if self.objects and self.chance(0.3):
            return self.r.choice(self.objects)
        literal = lambda: "{" + ", ".join(
            f"{self.words() if self.chance(0.7) else self.number(s, 0)}: {self.any(s, max(d - 1, 0))}" for _ in range(self.r.randrange(3))) + "}"
        if d <= 0:
            return self.pick(lambda: self.root() + ".o", lambda: f'{{"k": {self.number(s, 0)}}}')
        return self.pick(
            lambda: self.root() + ".o",
            literal,
            lambda: self.comprehension(s, d - 1, "any", "o"),
            lambda: f"object.union({self.object(s, d - 1)}, {self.object(s, d - 1)})",
            lambda: f"object.remove({self.object(s, d - 1)}, [{self.words()}])",
            lambda: f"object.filter({self.object(s, d - 1)}, {{{self.words()}}})",
            lambda: f"json.patch({self.object(s, 0)}, [{{\"op\": \"add\", \"path\": \"z\", \"value\": {self.any(s, d - 1)}}}])",
        )

    def collection(self, s, d):
        return self.pick(lambda: self.array(s, d), lambda: self.set(s, d), lambda: self.object(s, d))

    def any(self, s, d):
        if self.functions and d > 0 and self.chance(0.15):
            name, arity = self.r.choice(self.functions)
            return f"{name}({', '.join(self.any(s, d - 1) for _ in range(arity))})"
        if d > 0 and self.chance(0.12):
            return f"object.get({self.object(s, d - 1)}, {self.words()}, {self.any(s, d - 1)})"
        options = [lambda: self.number(s, d), lambda: self.string(s, d), lambda: self.r.choice(["true", "false", "null"])]
        if d > 0:
            options += [lambda: self.array(s, d), lambda: self.set(s, d), lambda: self.object(s, d),
                        lambda: self.root() + ".deep", lambda: f"{self.root()}.mix[{self.r.randrange(3)}]"]
        return self.pick(*options)

    def comprehension(self, s, d, kind, shape):
        inner = Scope(s)
        body = self.body(inner, d, self.r.randrange(1, 3), iterate=True)
        make = {"number": self.number, "string": self.string, "any": self.any}[kind]
        head = make(inner, min(d, 1))
        if shape == "[]":
            return f"[{head} | {body}]"
        if shape == "{}":
            return f"{{{head} | {body}}}"
        return f"{{{self.string(inner, 0)}: {head} | {body}}}"

    # ---- bodies ----
    def statement(self, s, d):
        """One statement; may add variables to s."""
        def assign():
            kind = self.r.choice(["number", "string", "any", "array", "set", "object"])
            text = getattr(self, kind)(s, d)
            name = self.name()
            s.names[name] = kind if kind != "any" else "any"
            return f"{name} := {text}"

        def each():
            text, name = self.collection(s, d), self.name()
            s.names[name] = "any"
            return f"some {name} in {text}"

        def pairs():
            text, k, v = self.collection(s, d), self.name(), self.name()
            s.names[k] = s.names[v] = "any"
            return f"some {k}, {v} in {text}"

        def index():
            i, v = self.name("i"), self.name()
            text = f"{v} = {self.root()}.{self.r.choice(['nums', 'strs', 'mix', 'o', 'objs'])}[{i}]"
            s.names[v] = s.names[i] = "any"
            return text

        def objects():
            v = self.name()
            s.names[v] = "string"
            return f"{v} := {self.root()}.objs[_].{self.r.choice('kv')}"

        def unify():
            a, b = self.name(), self.name()
            text = self.pick(lambda: f"[{a}, {b}] = {self.root()}.mix", lambda: f"[{a}, {b}] = [{self.any(s, d)}, {self.any(s, d)}]",
                             lambda: f'{{"k": {a}, "v": {b}}} = {self.root()}.objs[_]')
            s.names[a] = s.names[b] = "any"
            return text

        def every():
            inner, x, text = Scope(s), self.name(), self.collection(s, d)
            inner.names[x] = "any"
            return f"every {x} in {text} {{ {self.boolean(inner, d)} }}"

        def walked():
            p, v = self.name(), self.name()
            s.names[p], s.names[v] = "array", "any"
            return f"walk({self.root()}.deep, [{p}, {v}])"

        def changed():
            rules = list(self.rules)
            if not rules:
                return assign()
            name, rule = self.name(), self.r.choice(rules)
            target = self.r.choice(["input", "input.n", "input.o.a", "data.d.n", "data.d", "input.mix"])
            text = f"{name} := {rule} with {target} as {self.any(s, d)}"
            s.names[name] = self.rules[rule]
            return text

        def mocked():
            if not self.rules:
                return assign()
            name, rule = self.name(), self.r.choice(list(self.rules))
            text = f"{name} := {rule} with {self.r.choice(['count', 'upper', 'abs'])} as {self.any(s, 0)}"
            s.names[name] = self.rules[rule]
            return text

        def denied():
            return f"not {self.boolean(s, d)}"

        def condition():
            return self.boolean(s, d)

        def pattern():
            if not self.objects:
                return condition()
            k, v = self.name(), self.name()
            s.names[k] = s.names[v] = "any"
            return f"{v} := {self.r.choice(self.objects)}[{k}]"

        def member():
            if not self.sets:
                return condition()
            v = self.name()
            s.names[v] = "any"
            return f"{self.r.choice(self.sets)}[{v}]"

        return self.pick(assign, assign, each, pairs, index, objects, unify, every, walked, changed, mocked, denied,
                         condition, condition, pattern, member)

    def body(self, s, d, n, iterate=False):
        out = [self.statement(s, d) for _ in range(n)]
        if iterate:
            name = self.name()
            out.insert(0, f"some {name} in {self.collection(Scope(), 0)}")
            s.names[name] = "any"
        return "; ".join(out)

    # ---- rules ----
    def block(self, s):
        return "{\n\t" + self.body(s, self.r.randrange(1, 3), self.r.randrange(1, 4)).replace("; ", "\n\t") + "\n}"

    def complete(self):
        name = self.name("r")
        kind = self.r.choice(["number", "string", "any", "boolean", "array", "object", "set"])
        make, out = getattr(self, kind), []
        if self.chance(0.4):
            out.append(f"default {name} := {self.r.choice(NUMBERS + ['null', 'false', '{}', '[1]'])}")
            value_kind = "any"
        else:
            value_kind = kind
        for _ in range(self.r.choice([1, 1, 1, 2])):
            s = Scope()
            block = self.block(s)
            text = f"{name} := {make(s, 1)} if {block}"
            while self.chance(0.25):
                s = Scope()
                block = self.block(s)
                text += f" else := {make(s, 1)} if {block}"
            out.append(text)
        self.rules[name] = value_kind if value_kind != "boolean" else "any"
        return out

    def partial_set(self):
        name, out = self.name("s"), []
        for _ in range(self.r.choice([1, 2])):
            s = Scope()
            block = self.block(s)
            out.append(f"{name} contains {self.any(s, 1)} if {block}")
        self.sets.append(name)
        return out

    def partial_object(self):
        name, out = self.name("o"), []
        for _ in range(self.r.choice([1, 2])):
            s = Scope()
            block = self.block(s)
            out.append(f"{name}[{self.string(s, 0)}] := {self.any(s, 1)} if {block}")
        self.objects.append(name)
        return out

    def general(self):
        name, out = self.name("g"), []
        for _ in range(self.r.choice([1, 2])):
            s = Scope()
            block = self.block(s)
            out.append(self.pick(lambda: f"{name}.x[{self.string(s, 0)}] := {self.any(s, 1)} if {block}",
                                 lambda: f"{name}.y[{self.string(s, 0)}].z := {self.any(s, 1)} if {block}",
                                 lambda: f"{name}.w contains {self.any(s, 1)} if {block}",
                                 lambda: f"{name}[{self.string(s, 0)}][{self.string(s, 0)}] := {self.any(s, 1)} if {block}"))
        self.objects.append(name)
        return out

    def function(self):
        name, arity, out = self.name("f"), self.r.choice([1, 1, 2]), []
        for _ in range(self.r.choice([1, 1, 2, 3])):
            s, arguments = Scope(), []
            for _ in range(arity):
                if self.chance(0.7):
                    argument = self.name("p")
                    s.names[argument] = "any"
                else:
                    argument = self.pick(lambda: self.r.choice(NUMBERS), self.words, lambda: f"[{self.name('p')}, _]")
                arguments.append(argument)
            block = self.block(s)
            text = f"{name}({', '.join(arguments)}) := {self.any(s, 1)} if {block}"
            if self.chance(0.2):
                other = Scope()
                for a in arguments:
                    if a.startswith("p"):
                        other.names[a] = "any"
                text += f" else := {self.any(other, 1)}"
            out.append(text)
        if self.chance(0.15):
            out.insert(0, f"default {name}({', '.join('_' for _ in range(arity))}) := 0")
        self.functions.append((name, arity))
        return out

    def policy(self):
        out = ["package t", "import rego.v1"]
        for _ in range(self.r.randrange(2, 7)):
            out += self.pick(self.complete, self.complete, self.partial_set, self.partial_object, self.function, self.general)
        return Policy(wildcards("\n".join(out)) + "\n", self.document(), '{"d": ' + self.document() + "}")


def generate(seed):
    return Generator(seed).policy()


if __name__ == "__main__":
    import sys
    made = generate(int(sys.argv[1]))
    print(made.source, "# input", made.input, "\n# data", made.data)
