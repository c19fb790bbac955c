"""The diffs of docs/extending.md: together they apply to the sources as they are, and what they add is in a run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from core.schema import SESSIONS
from tests.support.snippets import ROOT, blocks

PACKAGES = ("core", "models", "clients", "strategies", "sim", "replay", "analysis", "docs")
RUN = """
from analysis import figures
from sim import run
from sim.config import Config

figures.FIGURES = {"cutoffs": figures.FIGURES["cutoffs"]}  # the others take most of the time
small = {"devices": 6, "epochs": 1, "blocks": 1, "sessions": 3, "quiet": True}
run.main(Config(methods="devicerec,duet,duet-swapped", policy="streak:0.1", **small).check())
"""


def test_the_diffs_apply_and_what_they_add_is_in_a_run(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    diffs = [body for kind, body in blocks("docs/extending.md") if kind == "diff"]
    assert len(diffs) == 4
    for number, diff in enumerate(diffs):
        (tmp_path / f"{number}.diff").write_text(diff, encoding="utf-8")
        # A repository above the folder would take the paths for its own.
        outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
        done = subprocess.run(
            ["git", "apply", f"{number}.diff"], cwd=tmp_path, env=outside, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{diff}\n{done.stderr}"

    elsewhere = {**os.environ, "PYTHONPATH": str(tmp_path), "SIM_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=elsewhere, check=True, stdout=subprocess.DEVNULL)

    (folder,) = (tmp_path / "runs").iterdir()
    rows = pd.read_parquet(folder / "sessions.parquet")
    assert set(rows["method"]) >= {"duet", "duet-swapped"}
    assert (rows["compute"] == 1).all()  # the default mix has no other applications
    assert set(rows.columns) - {column.name for column in SESSIONS} == {"compute"}
    later = rows[(rows["method"] == "duet") & (rows["session"] > 0)]
    assert not later["requested"].all()  # five losses in a row have to be there first
    shares = pd.read_csv(folder / "figures" / "cutoffs.csv")
    hits = rows.groupby("method")[["events", "hits"]].sum().loc["duet"]
    found = shares[(shares["method"] == "duet") & (shares["k"] == 10)]["share"].item()
    assert abs(found - hits["hits"] / hits["events"]) < 1e-9
