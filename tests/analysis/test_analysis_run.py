"""A run folder is read, or the one line says why not."""

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from core.errors import UserError
from tests.support.fake_run import METHODS, plausible_rows, plausible_training, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = plausible_rows(devices=5, sessions=2)
    return write_run(tmp_path / "run", rows, plausible_training(epochs=3), extractor_context=50)


def test_a_run_comes_back_as_it_was_written(folder: Path) -> None:
    run = analysis.load(folder)

    assert run.path == folder
    assert run.options["dataset"] == "ml1m"
    assert run.methods == list(METHODS)
    assert run.seeds == [0]
    assert (
        run.sessions.pop("user") == run.sessions["device"]
    ).all()  # of rows that were written before it was a column
    assert run.sessions.pop("bits_installed").isna().all()  # of rows that were written before it was a column
    pd.testing.assert_frame_equal(run.sessions, plausible_rows(devices=5, sessions=2))
    assert run.training["best"].dtype == bool
    assert run.training.groupby("method")["best"].sum().eq(1).all()
    assert run.summary["method"].tolist() == list(METHODS)


def test_methods_follow_the_configuration_not_the_file(folder: Path) -> None:
    rows = plausible_rows(devices=5, sessions=2, methods=("forward-ofa", "devicerec"))
    write_run(folder, rows, methods=("devicerec", "forward-ofa"))

    assert analysis.load(folder).methods == ["devicerec", "forward-ofa"]


def test_methods_may_be_one_text(folder: Path) -> None:
    text = (folder / "config.toml").read_text()
    start, end = text.index("methods = ["), text.index("]", text.index("methods = ["))
    joined = text[:start] + 'methods = "duet, devicerec,finetune,forward-ofa"' + text[end + 1 :]
    (folder / "config.toml").write_text(joined)

    assert analysis.load(folder).methods == ["duet", "devicerec", "finetune", "forward-ofa"]


def test_a_run_without_training_has_an_empty_frame(folder: Path) -> None:
    (folder / "training.csv").unlink()

    training = analysis.load(folder).training

    assert len(training) == 0
    assert "valid_ndcg@10" in training.columns


def _remove(name: str, folder: Path) -> None:
    (folder / name).unlink()


def _write(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


def _keep_rows(folder: Path, keep: str) -> None:
    rows = pd.read_parquet(folder / "sessions.parquet").query(keep)
    rows.to_parquet(folder / "sessions.parquet")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: shutil.rmtree(f), "there is no such folder"),
        (lambda f: _remove("config.toml", f), "is not a run folder: there is no config.toml"),
        (lambda f: _write("config.toml", b"[run\n", f), "config.toml is damaged"),
        (lambda f: _write("config.toml", b"[other]\n", f), r"no table \[run\]"),
        (lambda f: _remove("sessions.parquet", f), "is unfinished: there is no sessions.parquet"),
        (lambda f: _write("sessions.parquet", b"PAR1 cut off", f), "sessions.parquet is damaged"),
        (lambda f: _keep_rows(f, "device < 0"), "has no rows"),
        (lambda f: _keep_rows(f, "method != 'duet'"), "unfinished: duet was not played with seed 0"),
        (lambda f: _write("training.csv", b"", f), "training.csv is damaged"),
        (lambda f: _write("training.csv", b"method,seed\n", f), "lacks the columns epoch, loss"),
    ],
)
def test_what_is_no_finished_run_is_refused_in_one_line(folder: Path, spoil, says: str) -> None:
    spoil(folder)

    with pytest.raises(UserError, match=says) as caught:
        analysis.load(folder)

    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_column_that_is_missing_is_named(folder: Path) -> None:
    rows = pd.read_parquet(folder / "sessions.parquet").drop(columns=["joules", "tier"])
    rows.to_parquet(folder / "sessions.parquet")

    with pytest.raises(UserError, match="lacks the columns joules, tier"):
        analysis.load(folder)


def test_a_seed_that_was_not_played_is_named(folder: Path) -> None:
    write_run(folder, plausible_rows(devices=5, sessions=2), seeds=2)

    with pytest.raises(UserError, match="devicerec was not played with seed 1"):
        analysis.load(folder)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        (
            "ndcg",
            float("nan"),
            r"row 3 \(method devicerec, seed 0, device 1, session 1\): ndcg is nan, which cannot be",
        ),
        ("ndcg", float("inf"), "ndcg is inf, which cannot be"),
        ("ndcg", 1000.0, r"ndcg is 1000.0, more than hits"),
        ("ndcg", -0.5, "ndcg is -0.5, which cannot be"),
        ("hits", 11, "hits is 11, more than events"),
        ("hits", -1, "hits is -1, which cannot be"),
        ("bits_down", -1, "bits_down is -1, which cannot be"),
        ("joules", float("inf"), "joules is inf, which cannot be"),
        ("ndcg_stale", 999.0, "ndcg_stale is 999.0, more than hits_stale"),
        ("status", "sleeping", "status is sleeping, which is none of ok, late, dropped"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_run_and_its_place(
    folder: Path, column: str, value: object, says: str
) -> None:
    rows = pd.read_parquet(folder / "sessions.parquet").assign(hits_stale=1.0, ndcg_stale=0.5)
    rows.loc[3, column] = value
    rows.to_parquet(folder / "sessions.parquet")

    with pytest.raises(UserError, match=says) as caught:
        analysis.load(folder)

    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_what_was_not_measured_and_what_has_no_ceiling_can_be(folder: Path) -> None:
    rows = pd.read_parquet(folder / "sessions.parquet")
    rows.assign(hits_stale=math.nan, ndcg_stale=math.nan, budget_macs=math.inf).to_parquet(folder / "sessions.parquet")
    assert analysis.load(folder).sessions["ndcg_stale"].isna().all()


def test_a_training_that_diverged_is_not_drawn(folder: Path) -> None:
    log = pd.read_csv(folder / "training.csv")
    log.loc[1, "loss"] = math.nan
    log.to_csv(folder / "training.csv", index=False)

    with pytest.raises(UserError, match=r"training.csv, row 1 \(method devicerec, seed 0, epoch 2\): loss is nan"):
        analysis.load(folder)


def test_a_column_that_a_run_lacks_has_what_stands_in_for_it(folder: Path) -> None:
    rows = pd.read_parquet(folder / "sessions.parquet").drop(columns=["status", "budget_macs"])
    rows.to_parquet(folder / "sessions.parquet")

    sessions = analysis.load(folder).sessions

    assert (sessions["status"] == "ok").all()
    assert np.isinf(sessions["budget_macs"]).all()
