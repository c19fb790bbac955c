"""Every column that a real run writes is documented with its unit, and methods have one name everywhere."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import tyro

import analysis
from analysis import captions
from clients.app import app
from core import schema
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from strategies.registry import METHODS
from strategies.wave import Status

CONFIG = Config(
    devices=6,
    blocks=1,
    epochs=1,
    sessions=2,
    methods="devicerec,duet",
    compare_stale=True,
    quiet=True,
    references="none",
    evaluate="sampled:20",
    split="time",
    retrain=30.0,
    cloud_users="simulated",
    uploads=True,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, with everything that adds columns."""
    root = tmp_path_factory.mktemp("columns")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIM_CACHE_DIR", str(root / "cache"))
        patch.setattr("analysis.figures.collect", lambda run: {})  # pictures take most of the time
        config = replace(CONFIG, out=root / "run").check().absolute()
        execute(config, InProcessGrid(app, config.devices))
    return root / "run"


def test_every_column_of_a_run_is_documented_with_its_unit(folder: Path) -> None:
    listed = analysis.columns()
    written = {
        "sessions.parquet": pd.read_parquet(folder / "sessions.parquet"),
        "summary.csv": pd.read_csv(folder / "summary.csv"),
        "training.csv": pd.read_csv(folder / "training.csv"),
        "coverage.csv": pd.read_csv(folder / "coverage.csv"),
        "uploads.parquet": pd.read_parquet(folder / "uploads.parquet"),
        "retraining.csv": pd.read_csv(folder / "retraining.csv"),
    }
    for file, frame in written.items():
        mine = listed[listed["file"] == file]
        assert sorted(frame.columns) == sorted(mine["column"]), file
    assert (listed["meaning"].str.len() > 10).all()
    assert listed.set_index(["file", "column"]).loc[("summary.csv", "served"), "unit"] == "share"
    assert listed.set_index(["file", "column"]).loc[("sessions.parquet", "served"), "unit"] == "yes or no"


def test_every_column_is_given_once_with_unit_and_type(folder: Path) -> None:
    for file, columns in schema.FILES.items():
        assert len({column.name for column in columns}) == len(columns), file
        assert all(column.unit and column.dtype for column in columns)
    sessions = pd.read_parquet(folder / "sessions.parquet")
    assert list(sessions.columns) == schema.names(schema.SESSIONS)
    for name, dtype in schema.dtypes(schema.SESSIONS).items():
        assert sessions[name].dtype == dtype, name


def test_a_column_reaches_the_documentation_from_the_schema_alone() -> None:
    lines = schema.markdown().splitlines()
    for columns in schema.FILES.values():
        told = [name for name in schema.names(columns) if name not in schema.LATENT]
        assert all(any(line.startswith(f"| `{name}` |") for line in lines) for name in told)
    assert any(line.startswith("| `latent_0` to `latent_63` |") for line in lines)
    assert "| `status` | text | text |" in schema.markdown()
    assert all(f"{status} (" in schema.markdown() for status in ("ok", "failed", "lost"))


def test_the_frames_of_a_loaded_run_have_these_columns(folder: Path) -> None:
    run = analysis.load(folder)
    listed = analysis.columns().groupby("file")["column"].agg(set)
    assert set(run.sessions) == listed["sessions.parquet"]
    assert set(run.summary) == listed["summary.csv"]
    assert set(run.training) == listed["training.csv"]


def test_the_command_that_a_report_names_gives_this_run(folder: Path) -> None:
    words = captions.command(analysis.load(folder).options).split()
    assert words[:3] == ["python", "-m", "sim.run"]
    again = tyro.cli(Config, args=words[3:], config=(tyro.conf.AvoidSubcommands,))
    assert again == replace(
        CONFIG, context=10, memory=50, candidates="unseen", quiet=False
    )  # the defaults are spelled out
    plain = captions.command(analysis.load(folder).options | {"compare_stale": False}).split()
    assert not tyro.cli(Config, args=plain[3:], config=(tyro.conf.AvoidSubcommands,)).compare_stale


def test_a_run_says_what_its_methods_are_called_and_what_they_do(folder: Path) -> None:
    run = analysis.load(folder)
    assert run.titles == {name: METHODS[name].title for name in ("devicerec", "duet")}
    assert run.notes == {name: METHODS[name].note for name in ("devicerec", "duet")}
    assert all(vars(method).get("note") for method in METHODS.values())


def test_whatever_a_device_session_can_come_to_has_its_words() -> None:
    assert set(get_args(Status)) == set(schema.STATUSES)
    assert set(schema.FAULTS) < set(schema.STATUSES)
