"""Write the generated parts of the documents again.

    python docs/generate.py

A generated part lies between the lines ``<!-- generated: NAME -->`` and ``<!-- end of generated -->``:

* ``columns`` in docs/run-folder.md: every column of a run's files, from :mod:`core.schema`;
* ``results`` in results/README.md: every folder of results/, from its ``command.sh`` and ``config.toml``;
* ``tree`` in docs/house.md: every module, from the first sentence of its docstring.

A test compares the committed documents with what this script writes.
"""

import ast
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)
DEFAULTS = {"--seed": "0", "--seeds": "1"}
"""What a command that names no such option uses; the others have no default that all commands share."""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, one line a row, with a line end after each."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def columns() -> str:
    """The columns of a run's files: a table a file."""
    from core import schema

    return f"\n{schema.markdown().strip()}\n\n"


def comments(script: Path) -> list[str]:
    """The comment lines at the head of a script, without ``#!`` and without their marks."""
    lines = script.read_text(encoding="utf-8").splitlines()[1:]
    return [line.removeprefix("# ") for line in lines[: next(i for i, x in enumerate(lines) if not x.startswith("#"))]]


def commands(script: Path) -> list[list[str]]:
    """The words of each ``python -m`` command of a script; a trailing ``"$@"`` is left out."""
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    found = [shlex.split(line) for line in text.splitlines() if line.startswith("python -m ")]
    return [[word for word in words if word != "$@"] for words in found]


def option(words: list[str], name: str) -> str:
    """The value of an option in a command, or its default."""
    return words[words.index(name) + 1] if name in words else DEFAULTS.get(name, "")


def seeds(words: list[str]) -> str:
    """The seeds that a command plays, as in ``0 to 2``."""
    first, count = int(option(words, "--seed")), int(option(words, "--seeds"))
    return str(first) if count == 1 else f"{first} to {first + count - 1}"


def results() -> str:
    """The folders of results/, one row each: what it shows, data, devices, seeds, age of the code."""
    rows = []
    for script in sorted((ROOT / "results").glob("*/command.sh")):
        name, (title, age) = script.parent.name, comments(script)
        first = commands(script)[0]
        training = age.removeprefix("Training: ")
        played = "" if training.startswith("none") else seeds(first)
        cells = [option(first, "--dataset"), option(first, "--devices"), played, training]
        rows.append([f"[{name}]({name})", f"[{first[2]}]({name}/command.sh)", title, *cells])
    return table(("folder", "command", "what it shows", "data set", "devices", "seeds", "training"), rows)


PACKAGES = ("core", "models", "clients", "strategies", "sim", "replay", "analysis", "benchmarks", "tests/support")
"""In the order of the import rule; the last two are not installed."""
MARKS = re.compile(r":\w+:`~?([^`]+)`|``([^`]+)``")
SENTENCE = re.compile(r"(?<!et al\.)(?<=[.!?])\s")


def first_sentence(module: Path) -> str:
    """The first sentence of a module's docstring as Markdown."""
    words = " ".join((ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split())
    return MARKS.sub(lambda found: f"`{found[1] or found[2]}`", SENTENCE.split(words)[0])


def tree() -> str:
    """The modules of every package: a table a package."""
    parts = []
    for package in PACKAGES:
        top = ROOT / package
        head = first_sentence(top / "__init__.py") if (top / "__init__.py").exists() else "What tests share."
        files = sorted(top.rglob("*.py"), key=lambda file: (file.parent, file.name))
        rows = [
            (f"[{name}](../{package}/{name})", first_sentence(file))
            for file in files
            if (name := file.relative_to(top).as_posix()) != "__init__.py"
        ]
        parts.append(f"### {package}/\n\n{head}\n\n{table(('file', 'what it is'), rows)}\n")
    return "\n" + "".join(parts)


GENERATED: dict[str, dict[str, Callable[[], str]]] = {
    "docs/house.md": {"tree": tree},
    "docs/run-folder.md": {"columns": columns},
    "results/README.md": {"results": results},
}
"""By document: its generated parts, and what writes each of them."""


def written(document: str) -> str:
    """The text of a document with its generated parts written again.

    Raises ValueError if the document does not have exactly the parts that it should.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    parts = GENERATED[document]
    if (found := [match[2] for match in PART.finditer(text)]) != list(parts):
        raise ValueError(f"{document} has the generated parts {found}, not {list(parts)}")
    return PART.sub(lambda match: match[1] + parts[match[2]]() + match[3], text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for document in GENERATED:
        (ROOT / document).write_text(written(document), encoding="utf-8")
