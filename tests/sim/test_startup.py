"""What --help and a mistake in an option need: the options, and none of the libraries that a run needs."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "numpy",
    "torch",
    "pandas",
    "pyarrow",
    "flwr",
    "ray",
    "river",
    "scipy",
    "matplotlib",
    "pooch",
    "safetensors",
    "analysis",
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


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["sim.run", "--help"], "0"),
        (["sim.train", "--help"], "0"),
        (["sim.run", "--backbone", "bert4rec"], "2"),
        (["sim.run", "--methods", "fedavg"], "2"),
        (["sim.run", "--penalty", "nan"], "2"),
    ],
)
def test_no_heavy_library_is_imported(words: list[str], status: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert f"status {status}\n" in done.stdout, done.stderr
    loaded = done.stdout.rsplit("imported ", 1)[1].split()
    assert "tyro" in loaded
    assert not set(HEAVY) & set(loaded)
