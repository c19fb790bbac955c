"""The project as a Flower app: the recipe of docs/backends.md, and the options in app/pyproject.toml."""

import os
import shlex
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from sim.config import Config
from tests.support.snippets import ROOT, blocks, pyproject


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


@pytest.mark.xdist_group("network")
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the SuperLink in /proc")
def test_flwr_run_plays_the_app(tmp_path: Path) -> None:
    """The recipe with two devices and one method; nothing but loopback is used."""
    (recipe,) = [body for _, body in blocks("docs/backends.md") if "flwr run" in body]
    small = 'devices=2 sessions=1 epochs=1 blocks=1 methods="devicerec" candidates="all" out="OUT"'
    small = small.replace("OUT", str(tmp_path / "run"))
    script = recipe.replace("num-supernodes=20", "num-supernodes=2").rstrip() + f" --run-config {shlex.quote(small)}\n"
    environment = {
        **os.environ,
        "FLWR_HOME": str(tmp_path / "home"),
        "SIM_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    try:
        done = subprocess.run(["bash", "-e", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "run" / "report.html").exists(), done.stdout + done.stderr
    finally:
        for process in superlinks(tmp_path / "home"):
            os.kill(process, 15)


def test_the_app_of_flwr_run_takes_the_options_of_a_run() -> None:
    listed = pyproject("app/pyproject.toml")["tool"]["flwr"]["app"]["config"]
    assert set(listed) == {field.name.replace("_", "-") for field in fields(Config)}
    assert replace(Config(), tensorboard=True).to_flat()["tensorboard"] is True
