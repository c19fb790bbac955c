"""Every snippet of the README runs as it stands there, on tiny sizes, and so do the examples.

Snippets are run in the order of the page, in one folder, in this process. A block whose first line is ``# NAME.py`` or
``# NAME.toml`` is that file. Commands that are heavy or need a network are checked as far as it goes without: their
options have to exist.
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tyro

from clients.app import app
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from sim.sweep import split
from strategies.duet import Duet
from strategies.registry import METHODS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(kind, body) for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
TINY = {"devices": 6, "epochs": 1, "blocks": 1, "sessions": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is run: an own cache, a finished run named RUN, no pictures (they take most of the time)."""
    here = tmp_path_factory.mktemp("readme")
    methods, before = dict(METHODS), os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_CACHE_DIR", str(here / "cache"))
        patch.setattr("analysis.figures.collect", lambda run: {})
        patch.chdir(here)
        os.symlink(ROOT / "examples", here / "examples")
        config = Config(**TINY, methods="devicerec,forward-ofa", out=here / "RUN", quiet=True).check().absolute()
        execute(config, InProcessGrid(app, config.devices))
        yield here
    os.chdir(before)
    for name in METHODS.keys() - methods:
        del METHODS[name]


def in_process(start: Callable[..., object], arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``python ARGUMENTS`` does, which has to end well."""
    monkeypatch.setattr(sys, "argv", arguments)
    status: object = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'.*' found in sys.modules after import", RuntimeWarning)
        try:
            start(arguments[0], run_name="__main__")
        except SystemExit as end:
            status = end.code
    assert not status, arguments


def tiny(words: list[str]) -> list[str]:
    """The options of a run, made small; whatever else they say stays."""
    return [*words, *(word for key, value in TINY.items() for word in (f"--{key}", str(value))), "--quiet"]


def simulate(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -m sim.run`` with these options: their check, and a tiny run where it is quick and needs no download."""
    arguments, repeated = split(words)
    config = tyro.cli(Config, args=arguments, config=(tyro.conf.AvoidSubcommands,))
    repeated.configs(config)
    if config.backend == "inprocess" and (config.dataset == "synthetic" or config.dataset.endswith(".csv")):
        in_process(runpy.run_module, ["sim.run", *tiny(words)], monkeypatch)


def command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a bash block."""
    words = shlex.split(line, comments=True)
    if not words or words[0] == "export":
        return
    program = words[0].removeprefix(".venv/bin/")
    if "&&" in words:  # the installation, which CI does for real
        assert words[:4] == ["python3", "-m", "venv", ".venv"]
        assert words[-2:] in (["-m", "sim.run"], ["-m", "pytest"])
        extra = re.search(r"\.\[(\w+)\]", line)
        assert extra is None or extra[1] in pyproject()["project"]["optional-dependencies"]
    elif program == "pip":
        extra = re.search(r"\[(\w+)\]", line)
        assert extra is None or extra[1] in pyproject()["project"]["optional-dependencies"]
    elif program == "flwr":
        assert words[1:4] == ["run", ".", "--stream"]  # run for real below
    elif words[1:2] == ["-m"]:
        if words[2] == "sim.run":
            simulate(words[3:], monkeypatch)
        elif words[2] in ("analysis.report", "analysis.compare"):
            in_process(runpy.run_module, words[2:], monkeypatch)
        else:
            done = subprocess.run(
                [sys.executable, "-m", words[2], "--help"], capture_output=True, text=True, check=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert all(word in done.stdout for word in words[3:] if word.startswith("--")), line
    else:
        assert program == "python", f"a test has to know how to run: {line}"
        of_a_run = "sim.run" in Path(words[1]).read_text(encoding="utf-8")
        in_process(runpy.run_path, [words[1], *(tiny(words[2:]) if of_a_run else words[2:])], monkeypatch)


def pyproject() -> dict[str, dict[str, dict[str, object]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_snippet_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(BLOCKS) > 12
    for kind, body in BLOCKS:
        named = re.match(r"# (\S+\.(?:py|toml))\b", body)
        if named:
            assert len(body.splitlines()) < 30, named[1]
            (folder / named[1]).write_text(body, encoding="utf-8")
        elif kind == "python":
            exec(compile(body, "README.md", "exec"), {})
        elif kind == "bash":
            for line in body.splitlines():
                command(line, monkeypatch)
        else:
            pytest.fail(f"a block of kind '{kind}' that no test runs:\n{body}")
    assert "duet-swapped" in METHODS  # swapped.py was there, and was run
    assert (folder / "purchases.csv").exists()
    assert list((folder / "runs").glob("purchases-*/report.html"))
    assert list((folder / "runs").glob("comparison-*/comparison.html")) or list(folder.glob("**/comparison.html"))


def test_the_method_of_the_readme_is_the_one_of_the_examples() -> None:
    (mine,) = [body for _, body in BLOCKS if body.startswith("# swapped.py")]
    theirs = (ROOT / "examples" / "custom_method.py").read_text(encoding="utf-8")
    for text in (mine, theirs):
        assert "self.owed = {node: self.owed[nodes[i - 1]] for i, node in enumerate(nodes)}" in text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("block_usage", "device-sessions that run each block"),
        ("resource_heterogeneity", "forward-ofa strong"),
        ("custom_method", "duet-swapped"),
    ],
)
def test_an_example_runs_and_says_what_it_promises(
    folder: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    in_process(runpy.run_path, [f"examples/{name}.py", *tiny(["--out", str(folder / name)])], monkeypatch)

    assert says in " ".join(capfd.readouterr().out.split())


def test_swapped_networks_are_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The custom method does what it says."""
    methods = runpy.run_path(str(ROOT / "examples" / "custom_method.py"), run_name="custom_method")
    strategy = object.__new__(methods["Swapped"])
    monkeypatch.delitem(METHODS, "duet-swapped")

    def answer(self: Duet, server_round: int, replies: list[object]) -> tuple[None, None]:
        self.owed = {11: "a", 12: "b", 13: "c"}  # type: ignore[dict-item]
        return None, None

    monkeypatch.setattr(Duet, "aggregate_train", answer)
    strategy.aggregate_train(1, [])
    assert strategy.owed == {11: "c", 12: "a", 13: "b"}


def test_links_and_pictures_of_the_documents_exist() -> None:
    for document in ("README.md", "CHANGELOG.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{document}: {target}"


def test_licence_and_citation_agree_with_the_package() -> None:
    project = pyproject()["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"license: {project['license']}\n" in citation
    assert f"version: {project['version']}\n" in citation
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def superlinks(home: Path) -> list[int]:
    """Processes that `flwr run` with this FLWR_HOME has left behind."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"FLWR_HOME={home}".encode() in (entry / "environ").read_bytes().split(b"\0")
            if mine and b"flower-superlink" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the SuperLink in /proc")
def test_flwr_run_plays_the_app(tmp_path: Path) -> None:
    """The README's recipe with two devices and one method; nothing but loopback is used."""
    (recipe,) = [body for _, body in BLOCKS if "flwr run" in body]
    small = 'devices=2 sessions=1 epochs=1 blocks=1 methods="devicerec" out="OUT"'.replace("OUT", str(tmp_path / "run"))
    script = recipe.replace("num-supernodes=20", "num-supernodes=2").rstrip() + f" --run-config {shlex.quote(small)}\n"
    environment = {
        **os.environ,
        "FLWR_HOME": str(tmp_path / "home"),
        "SIM_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    try:
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "run" / "report.html").exists(), done.stdout + done.stderr
    finally:
        for process in superlinks(tmp_path / "home"):
            os.kill(process, 15)


def test_the_app_of_flwr_run_takes_the_options_of_a_run() -> None:
    listed = pyproject()["tool"]["flwr"]["app"]["config"]  # type: ignore[index]
    assert set(listed) == {field.name.replace("_", "-") for field in fields(Config)}
    assert replace(Config(), tensorboard=True).to_flat()["tensorboard"] is True
