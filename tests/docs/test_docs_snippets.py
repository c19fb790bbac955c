"""Every snippet of README, CONTRIBUTING and docs/ runs as it stands there, on tiny sizes, and so do the examples."""

import os
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.app import app
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from strategies.duet import Duet
from strategies.registry import METHODS
from tests.support.snippets import PAGES, ROOT, TINY, blocks, in_process, run, tiny

LEFT = {
    "docs/extending.md": ["purchases.csv", "runs/purchases-*/report.html"],
    "docs/devices.md": ["runs/comparison-*/comparison.html"],
    "docs/drift-and-policies.md": ["runs/comparison-*/comparison.html"],
}
"""What the snippets of a document leave behind: a sign that they ran."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything is run: an own cache, a finished run named RUN, no pictures (they take most of the time)."""
    here = tmp_path_factory.mktemp("documents")
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


@pytest.mark.parametrize("document", PAGES)
def test_every_snippet_runs(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path for pattern in LEFT.get(document, []) for path in folder.glob(pattern)}

    run(document, folder, monkeypatch)

    for pattern in LEFT.get(document, []):
        assert set(folder.glob(pattern)) - before, f"{document} left no {pattern}"
    assert "duet-swapped" in METHODS or document != "docs/extending.md"  # swapped.py was there, and was run


def test_documents_have_snippets() -> None:
    assert sum(len(blocks(document)) for document in PAGES) > 20


def test_the_method_of_the_documents_is_the_one_of_the_examples() -> None:
    (mine,) = [body for _, body in blocks("docs/extending.md") if body.startswith("# swapped.py")]
    theirs = (ROOT / "examples" / "custom_method.py").read_text(encoding="utf-8")
    for text in (mine, theirs):
        assert "self.owed = {node: self.owed[nodes[i - 1]] for i, node in enumerate(nodes)}" in text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("block_usage", "device-sessions that run each block"),
        ("resource_heterogeneity", "forward-ofa strong"),
        ("custom_method", "swapped"),
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
