"""The tools of the tests themselves: rows that differ in one bit are told apart, and a kill is booked where it fell."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support import same_rows
from tests.support.kills import MOST, Options, Watch, plan
from tests.support.same_rows import differences

ROWS = pd.DataFrame(
    {"method": ["duet", "duet"], "device": [3, 4], "session": [0, 1], "ndcg": [0.1, np.nan], "status": ["ok", None]}
)


def test_equal_rows_are_equal_and_a_missing_number_is_equal_to_itself() -> None:
    assert differences(ROWS, ROWS.copy()) == []


@pytest.mark.parametrize(
    ("other", "line"),
    [
        (
            ROWS.assign(ndcg=[np.nextafter(0.1, 1), np.nan]),
            "ndcg: 1 rows .* method duet, device 3, session 0: 0.1 ",
        ),
        (ROWS.assign(ndcg=[0.1, 0.0]), "column ndcg: .* device 4"),
        (ROWS.assign(status=["ok", "late"]), "column status"),
        (ROWS.astype({"device": "int32"}), "column device: int64 against int32"),
        (ROWS.drop(columns="status"), "column status is in one of them only"),
        (ROWS[["device", "method", "session", "ndcg", "status"]], "another order"),
        (ROWS.head(1), "2 rows against 1"),
        (ROWS.iloc[::-1].reset_index(drop=True), "column device"),
    ],
)
def test_one_difference_is_found_and_named(other: pd.DataFrame, line: str) -> None:
    assert pd.Series(differences(ROWS, other)).str.contains(line).any()


def test_two_folders_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("a", ROWS), ("b", ROWS), ("c", ROWS.assign(device=[3, 5]))):
        (tmp_path / name).mkdir()
        rows.to_parquet(tmp_path / name / "sessions.parquet")
    assert same_rows.main(tmp_path / "a", tmp_path / "b") == 0
    assert capsys.readouterr().out == "equal: 2 rows of 5 columns\n"
    assert same_rows.main(tmp_path / "a", tmp_path / "c") == 1
    assert "column device: 1 rows differ" in capsys.readouterr().out


def test_a_kill_falls_where_the_process_was_writing(tmp_path: Path) -> None:
    """What an earlier process had left says nothing about this one."""
    run, models = tmp_path / "run", tmp_path / "cache" / "models"
    (run / "parts").mkdir(parents=True)
    models.mkdir(parents=True)
    (models / "duet-1.checkpoint").write_text("of an earlier process")
    watch = Watch(tmp_path)
    assert watch.phase() == "start"
    (models / "duet-1.checkpoint").write_text("the next epoch")
    assert (watch.phase(), watch.epochs) == ("training", 1)
    (models / "duet-1.checkpoint").rename(models / "duet-1.safetensors")
    assert watch.phase() == "training"  # between two models
    (run / "training.csv").touch()
    assert watch.phase() == "start"  # trained, and no round is there yet
    for number in range(2):
        (run / "parts" / f"0-duet-{number}.parquet").touch()
        assert (watch.phase(), watch.parts) == ("rounds", number + 1)
    again = Watch(tmp_path)
    assert again.phase() == "start"
    (run / "sessions.parquet").touch()
    assert (watch.phase(), again.phase()) == ("report", "report")


def test_kills_are_planned_until_there_are_enough_of_each_kind() -> None:
    options = Options(training=30, rounds=1, ray=2, total=40)
    assert plan(options, Counter()) == ("inprocess", ["training"] * MOST + ["rounds"])
    assert plan(options, Counter(training=29, rounds=1, total=30)) == ("inprocess", ["training"])
    assert plan(options, Counter(training=31, rounds=5, total=36)) == ("ray", ["rounds"] * 2)
    assert plan(options, Counter(training=31, rounds=5, ray=2, total=38)) == ("inprocess", ["anywhere"] * 2)
    assert plan(options, Counter(training=31, rounds=5, ray=2, total=40)) is None


def test_tests_of_a_file_stay_with_one_worker(request: pytest.FixtureRequest) -> None:
    """The name of their group stands behind their own, where pytest-xdist and pytest agree on where that is."""
    expected = request.path.stem if hasattr(request.config, "workerinput") else ""
    assert request.node.nodeid.partition("@")[2] == expected
