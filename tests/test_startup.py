"""What --help and a mistake in an option need: the options, and none of the libraries that the work needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("numpy", "torch", "pandas", "pyarrow", "flwr", "ray", "river", "scipy", "matplotlib", "pooch", "safetensors"),
    *("jinja2", "onnx", "onnxruntime", "recbole", "rectools", "pfl"),
)
CODE = """
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__")
except SystemExit as end:
    print("status", end.code)
print("imported", *(name for name in sys.modules if "." not in name))
"""
OPTIONS = ("ArgumentParser", "tyro", "cli(main", "parse(")
"""One of these is in every file that reads options."""


def commands() -> list[str]:
    """The modules that are started with ``python -m`` and read options."""
    found = []
    for package in ("sim", "analysis", "replay", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if '__name__ == "__main__"' in text and any(word in text for word in OPTIONS):
                found.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    return found


def start(*words: str) -> tuple[str, set[str]]:
    """Exit status of a command, and the libraries that it imported."""
    done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "imported " in done.stdout, done.stderr
    status, loaded = done.stdout.rsplit("status ", 1)[1].split("\nimported ")
    return status, set(loaded.split())


def test_all_commands_are_known() -> None:
    named = {"sim.run", "sim.train", "sim.data.statistics", "analysis.report", "analysis.compare", "analysis.privacy"}
    named |= {"analysis.reproduce"}
    named |= {f"replay.{name}" for name in ("calibrate", "case_study", "export", "measure", "structure")}
    named |= {f"benchmarks.{name}" for name in ("budgets", "busy", "fuzz_messages", "ladder", "loading", "training")}
    assert named <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_help_imports_no_heavy_library(command: str) -> None:
    status, loaded = start(command, "--help")
    assert status == "0"
    assert not set(HEAVY) & loaded


@pytest.mark.parametrize(
    "words",
    [
        ["sim.run", "--backbone", "bert4rec"],
        ["sim.run", "--methods", "fedavg"],
        ["sim.run", "--penalty", "nan"],
        ["analysis.reproduce", "table9"],
        ["analysis.compare"],
        ["replay.case_study"],
        ["benchmarks.budgets", "--blocks", "six"],
    ],
)
def test_a_mistake_in_an_option_imports_no_heavy_library(words: list[str]) -> None:
    status, loaded = start(*words)
    assert status == "2"
    assert not set(HEAVY) & loaded
