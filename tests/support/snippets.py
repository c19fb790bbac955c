"""Running the snippets of a document as they stand there, on tiny sizes.

A block whose first line is ``# NAME.py`` or ``# NAME.toml`` is that file. Commands that are heavy or need a network are
checked as far as it goes without: their options have to exist.
"""

import contextlib
import io
import re
import runpy
import shlex
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro

from sim.config import Config
from sim.sweep import split

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
"""The documents whose snippets run, in this order."""
TINY = {"devices": 6, "epochs": 1, "blocks": 1, "sessions": 1}
NOT_RUN = ("git", "ruff", "mypy", "pytest")
"""Programs of the development of this project, which CI runs."""
FEDERATION = ("openssl", "ssh-keygen", "flower-superlink", "flower-supernode")
"""Programs that an operator of a federation starts; tests/sim/test_distributed.py does, on machines of its own."""


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[tuple[str, str]]:
    """The fenced blocks of a document: their kind and what is in them."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text_of(document), re.MULTILINE | re.DOTALL)


def pyproject(file: str = "pyproject.toml") -> dict[str, Any]:
    return tomllib.loads(text_of(file))


def tiny(words: list[str]) -> list[str]:
    """The options of a run, made small; whatever else they say stays."""
    return [*words, *(word for key, value in TINY.items() for word in (f"--{key}", str(value))), "--quiet"]


def in_process(start: Callable[..., object], arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what ``python ARGUMENTS`` does, which has to end well."""
    monkeypatch.setattr(sys, "argv", arguments)
    status: object = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'.*' found in sys.modules after import", RuntimeWarning)
        try:
            start(arguments[0], run_name="__main__")
        except SystemExit as end:
            status = end.code
    assert not status, arguments


def checked(words: list[str]) -> Config:
    """The configuration of ``python -m sim.run WORDS``; the options, files and names in it have to exist."""
    arguments, repeated = split(words)
    config = tyro.cli(Config, args=arguments, config=(tyro.conf.AvoidSubcommands,))
    repeated.configs(config)
    return config


def options_exist(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m WORDS``: there is such a command, and its help names every option."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        in_process(runpy.run_module, [words[0], "--help"], monkeypatch)
    own = words[: words.index("--")] if "--" in words else words
    missing = [word for word in own if word.startswith("--") and word not in shown.getvalue()]
    assert not missing, f"{words[0]} has no option {missing}"


def _installs(words: list[str], line: str) -> None:
    """CI installs for real; the extras that a line names have to exist."""
    if "&&" in words:
        assert words[:4] == ["python3", "-m", "venv", ".venv"]
        assert words[words.index("-m", 4) :] in (["-m", "sim.run"], ["-m", "pytest", "-n", "2"])
    for extra in re.findall(r"\.\[(\w+)\]", line):
        assert extra in pyproject()["project"]["optional-dependencies"], line


def command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run or check one line of a bash block."""
    words = shlex.split(line, comments=True)
    if not words or words[0] == "export":
        return
    program = words[0].removeprefix(".venv/bin/")
    if "&&" in words or program == "pip":
        _installs(words, line)
    elif program in FEDERATION or words[:3] == ["flwr", "supernode", "register"]:
        return
    elif program == "flwr":
        assert words[1:4] == ["run", "app", "--stream"]  # run for real by test_docs_flwr.py
    elif words[1:3] == ["-m", "pytest"] or program in NOT_RUN:
        missing = [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
        assert not missing, line
    elif words[1:2] == ["-m"]:
        if words[2] in ("sim.run", "sim.train"):
            config = checked(words[3:])
            if config.backend == "inprocess" and (config.dataset == "synthetic" or config.dataset.endswith(".csv")):
                in_process(runpy.run_module, [words[2], *tiny(words[3:])], monkeypatch)
        elif words[2] in ("analysis.report", "analysis.compare"):
            in_process(runpy.run_module, words[2:], monkeypatch)
        else:
            options_exist(words[2:], monkeypatch)
    else:
        assert program == "python", f"a test has to know how to run: {line}"
        file = Path(words[1])
        if file == Path("docs/generate.py"):
            assert (ROOT / file).exists()  # it writes to the repository; test_docs_pages.py compares
            return
        of_a_run = "sim.run" in file.read_text(encoding="utf-8")
        in_process(runpy.run_path, [words[1], *(tiny(words[2:]) if of_a_run else words[2:])], monkeypatch)


def run(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the snippets of a document in their order in ``folder``, which is the working folder."""
    for kind, body in blocks(document):
        named = re.match(r"# (\S+\.(?:py|toml))\b", body)
        if named:
            assert len(body.splitlines()) < 30, named[1]
            (folder / named[1]).write_text(body, encoding="utf-8")
        elif kind == "python":
            exec(compile(body, document, "exec"), {})
        elif kind == "bash":
            for line in body.splitlines():
                command(line, monkeypatch)
        elif kind == "diff":
            continue  # tests/docs/test_docs_diffs.py applies them
        else:
            pytest.fail(f"{document}: a block of kind '{kind}' that no test runs:\n{body}")
