#!/usr/bin/env python3
"""Checks the rules of the house that the compiler does not: one TAP line a rule, findings as comments.

usage: tools/lint.py        (exit status 1 when a rule is broken)
"""
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_COLUMNS = 120
MAX_TEST_COLUMNS = 160  # expected texts stand whole on their line
MAX_FUNCTION_LINES = 100
MAX_README_LINES = 60

# Which directories of src/ each part may include from, besides itself and base/. "compiler" alone means the headers that lie
# directly in compiler/. A path names one file. Compiler stages see earlier stages only.
STAGES = ["ast", "check", "plan", "transform", "wasm"]
MAY_INCLUDE = {
    "base": [],
    "image": ["runtime/layout.h"],
    "runtime": ["builtins.def"],
    "bundle": [],
    "compiler": ["builtins.def"] + ["compiler/" + s for s in STAGES],
    "host": ["image", "runtime/layout.h", "runtime/rt.def", "builtins.def"],
    "net": [],
    "edge": ["host/host.h", "host/token.h", "bundle", "net"],
    "control": ["compiler", "host/host.h", "host/token.h", "host/builtins/re2_shim.h", "bundle", "net"] + ["compiler/" + s for s in STAGES],
    "cli": ["compiler", "host/host.h", "bundle", "edge", "control", "net/fetch.h"] + ["compiler/" + s for s in STAGES],
}
for number, stage in enumerate(STAGES):
    MAY_INCLUDE["compiler/" + stage] = ["compiler", "builtins.def"] + ["compiler/" + s for s in STAGES[:number]]
MAY_INCLUDE["compiler/wasm"] += ["image", "runtime/layout.h", "runtime/rt.def"]
# Stages report into struct compile, whose header shows the tree; the driver alone reaches into a stage's private header.
EXCEPTIONS = {("src/compiler/compile.c", "compiler/check/check_private.h")}

FORBIDDEN = [
    (re.compile(r"\b(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|alloca|tmpnam|mktemp)\s*\("), "unbounded or unsafe function"),
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "unfinished mark"),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def files(*patterns):
    """Source files of the tree, relative to the root."""
    found = [f for p in patterns for f in glob.glob(os.path.join(ROOT, p), recursive=True)]
    return sorted(os.path.relpath(f, ROOT) for f in found if os.path.isfile(f))


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def without_comments(source):
    """The source with comments and string contents blanked, lines kept."""
    def blank(match):
        piece = match.group(0)
        if piece[0] in "\"'":
            return piece[0] + " " * (len(piece) - 2) + piece[-1]
        return re.sub(r"[^\n]", " ", piece)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, source, flags=re.S)


def part_of(path):
    """src/compiler/ast/lexer.c -> compiler/ast; src/host/builtins/x.c -> host."""
    places = path.split("/")[1:-1]
    if not places:
        return ""
    return "compiler/" + places[1] if places[0] == "compiler" and len(places) > 1 else places[0]


def includes_allowed(part, header):
    own = header.startswith("base/") or part_of("src/" + header) == part
    for allowed in MAY_INCLUDE[part]:
        own = own or header == allowed or part_of("src/" + header) == allowed
    return own


def lint_includes():
    for path in files("src/**/*.[ch]", "src/**/*.cc"):
        part = part_of(path)
        if not part:
            continue
        for mark, header in INCLUDE.findall(text(path)):
            if mark == "<":
                if header.startswith(("wasmtime", "wasm.h")) and part != "host":
                    yield f"{path}: only src/host includes {header}"
            elif not os.path.exists(os.path.join(ROOT, "src", header)):
                yield f"{path}: \"{header}\" does not start below src/"
            elif (path, header) not in EXCEPTIONS and not includes_allowed(part, header):
                yield f"{path}: {part} may not include {header}"


def lint_readmes():
    folders = sorted({os.path.dirname(f) for f in files("src/**/*.[ch]")} - {"src"})
    for folder in folders:
        path = folder + "/README.md"
        if not os.path.exists(os.path.join(ROOT, path)):
            yield f"{folder}: no README.md"
        elif text(path).count("\n") > MAX_README_LINES:
            yield f"{path}: more than a page ({MAX_README_LINES} lines)"


def lint_opening_comments():
    for path in files("src/**/*.c"):
        opening = re.match(r"/\*.*?\*/", text(path), re.S)
        missing = [w for w in ("in:", "out:", "owns:") if not opening or w not in opening.group(0)]
        if missing:
            yield f"{path}: the opening comment lacks {' '.join(missing)}"


def lint_lines():
    for path in files("src/**/*.[ch]", "src/**/*.cc", "src/**/*.def", "include/*.h", "tests/**/*.[ch]", "bench/*.c", "examples/*.c"):
        for number, line in enumerate(text(path).split("\n"), 1):
            most = MAX_TEST_COLUMNS if path.startswith("tests/") else MAX_COLUMNS
            if len(line) > most and not path.endswith(".def"):
                yield f"{path}:{number}: {len(line)} columns"
            if "\t" in line or line != line.rstrip():
                yield f"{path}:{number}: tab, or space at the end"


def functions(source):
    """(first line, last line) of each function body that begins in column 0."""
    start = 0
    for number, line in enumerate(source.split("\n"), 1):
        if re.match(r"[A-Za-z_].*\)\s*\{\s*$", line):
            start = number
        elif re.match(r"\s+.*\)\s*\{\s*$", line) and not start and not line.lstrip().startswith(("if", "for", "while", "switch")):
            start = number  # parameters that went on to a second line
        elif line.startswith("}"):
            if start:
                yield start, number
            start = 0


def lint_function_sizes():
    for path in files("src/**/*.[ch]", "src/**/*.cc"):
        for first, last in functions(without_comments(text(path))):
            if last - first + 1 > MAX_FUNCTION_LINES:
                yield f"{path}:{first}: a function of {last - first + 1} lines"


def lint_forbidden():
    for path in files("src/**/*.[ch]", "src/**/*.cc", "include/*.h", "tests/**/*.[ch]", "bench/*.c", "examples/*.c"):
        source = text(path)
        code = without_comments(source)
        for pattern, what in FORBIDDEN:
            for match in pattern.finditer(source if "unfinished" in what else code):
                yield f"{path}:{source[:match.start()].count(chr(10)) + 1}: {what}: {match.group(0).rstrip('( ')}"


def lint_links():
    """Links between documents lead somewhere."""
    for path in files("*.md", "docs/**/*.md", "src/**/*.md", "third_party/*.md", "tests/**/*.md", "deploy/**/*.md", "bench/*.md"):
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text(path)):
            if "://" not in target and not os.path.exists(os.path.join(ROOT, os.path.dirname(path), target)):
                yield f"{path}: no such file: {target}"


def lint_places():
    """Nothing names a file that only its author had."""
    for path in files("*.md", "Makefile", "docs/**/*.md", "src/**/*", "include/*.h", "tests/**/*.[chp]*", "tools/*", "bench/*", "deploy/**/*"):
        if path == "tools/lint.py" or path.endswith((".pyc", ".wasm")):
            continue
        with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
            for number, line in enumerate(f, 1):
                if re.search(r"\bcontracts\.md|/work/|/root/|design\.md", line):
                    yield f"{path}:{number}: {line.strip()[:80]}"


def lint_cli_document():
    """docs/cli.md names every flag that a command's table has."""
    document = text("docs/cli.md") if os.path.exists(os.path.join(ROOT, "docs/cli.md")) else ""
    sections = dict(re.findall(r"^## regent (\w+)\n(.*?)(?=^## |\Z)", document, re.M | re.S))
    for path in files("src/cli/cmd_*.c"):
        command = re.sub(r".*cmd_(\w+)\.c", r"\1", path)
        for flag in re.findall(r'^\s*\{"([a-z0-9-]+)",\s*(?:0|\'.\'),\s*OPTION_', text(path), re.M):
            if f"--{flag}`" not in sections.get(command, "") and f"--{flag} " not in sections.get(command, ""):
                yield f"docs/cli.md: regent {command} --{flag} is not described"


RULES = [
    ("includes point one way", lint_includes),
    ("each directory has a README of at most a page", lint_readmes),
    ("each .c file opens with in:, out:, owns:", lint_opening_comments),
    (f"lines have at most {MAX_COLUMNS} columns ({MAX_TEST_COLUMNS} in tests), no tabs, no space at the end", lint_lines),
    (f"functions have at most {MAX_FUNCTION_LINES} lines", lint_function_sizes),
    ("no unbounded functions, no unfinished marks", lint_forbidden),
    ("no file that only its author had is named", lint_places),
    ("links in documents lead somewhere", lint_links),
    ("docs/cli.md describes every flag", lint_cli_document),
]


def main():
    failed = 0
    print(f"1..{len(RULES)}")
    for number, (name, rule) in enumerate(RULES, 1):
        found = list(rule())
        print(f"{'not ok' if found else 'ok'} {number} - {name}")
        for line in found:
            print("#   " + line)
        failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
