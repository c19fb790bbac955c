"""Options and data that cannot be: one line, exit status 2, and nothing half written."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core.errors import UserError
from sim.config import Config
from sim.experiment import prepare
from strategies.base import SessionStrategy
from strategies.registry import METHODS
from tests.support.runs import call, write_csv

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--dataset", "ml2m"], "unknown dataset"),
        (["--methods", "fedavg"], "unknown method 'fedavg'"),
        (["--drift", "earthquake"], "unknown drift"),
        (["--dataset", "missing.csv"], "missing.csv"),
        (["--context", "0"], "--context is 0"),
        (["--session-length", "0"], "--session-length is 0"),
        (["--scenario", "moon"], "unknown scenario"),
        (["--penalty", "nan"], "--penalty is nan"),
        (["--learning-rate", "inf"], "--learning-rate is inf"),
        (["--session-gap", "nan"], "--session-gap is nan"),
        (["--policy", "oracle:inf"], "finite number"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_half_written(
    arguments: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call([*arguments, "--out", str(tmp_path / "out")], monkeypatch) == 2
    error = capsys.readouterr().err
    assert why in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_more_devices_than_the_data_have_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a file; the generated data set grows with the devices."""
    arguments = ["--dataset", str(write_csv(tmp_path / "data.csv")), "--devices", "100000"]
    assert call([*arguments, "--out", str(tmp_path / "out")], monkeypatch) == 2
    error = capsys.readouterr().err
    assert "only" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backbone", "gru4rec"], "Expected one of ('sasrec', 'nextitnet')"),
        (["--devices", "twenty"], "--devices: invalid literal"),
        (["--devces", "20"], "did you mean --devices?"),
        (["--devices"], "Missing value for argument '--devices'"),
    ],
)
def test_what_cannot_be_parsed_is_one_line_and_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert call(arguments, monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.endswith("--help lists every option\n")
    assert error.count("\n") == 1


def test_a_training_that_diverges_ends_the_run_and_leaves_no_model(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--devices", "5", "--blocks", "1", "--context", "5", "--epochs", "2", "--quiet", "--methods", "devicerec"]
    small += ["--references", "none"]
    arguments = ["--dataset", config.dataset, *small, "--out", str(tmp_path / "out"), "--learning-rate", "1e30"]
    for _ in range(2):  # what the first start leaves, the second does not continue from
        assert call(arguments, monkeypatch) == 2
        said = capsys.readouterr().err.strip().splitlines()
        (error,) = [line for line in said if not line.startswith("warning: ")]  # what the data say comes before
        assert error.startswith("error: ")
        for part in ("DeviceRec", "epoch 1", "learning rate of 1e+30", "try --learning-rate 0.005"):
            assert part in error
        assert list((tmp_path / "cache" / "models").glob("*")) == []
        assert not (tmp_path / "out" / "sessions.parquet").exists()
        assert not (tmp_path / "out" / "models").exists()


@pytest.mark.parametrize(
    ("events", "items", "options", "why"),
    [
        (3, 9, ["--protocol", "paper"], "nothing to train on"),
        (3, 9, ["--protocol", "paper", "--cloud-users", "all"], "nothing to train on"),
        (12, 1, [], "1 item: there is nothing to rank"),
    ],
)
def test_data_that_teach_nothing_are_one_line_and_no_run(
    events: int,
    items: int,
    options: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [(f"u{user}", f"i{(user + step) % items}", 10**9 + step) for user in range(6) for step in range(events)]
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(tmp_path / "few.csv", index=False)
    arguments = ["--dataset", str(tmp_path / "few.csv"), "--devices", "4", "--out", str(tmp_path / "out"), *options]
    assert call(arguments, monkeypatch) == 2
    error = capsys.readouterr().err
    assert why in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--evaluate", "sampled:500"], "items, too few to draw 500 others from"),
        (["--compare-stale", "--methods", "devicerec", "--references", "none"], "none of devicerec adapts"),
    ],
)
def test_what_would_measure_nothing_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    arguments = ["--dataset", config.dataset, "--devices", "5", "--out", str(config.folder / "refused"), *options]
    assert call(arguments, monkeypatch) == 2
    assert said in capsys.readouterr().err


def test_rows_that_are_there_twice_are_named_where_they_leave_nothing_to_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u{user},i{(7 * user + step) % 40},{10**9 + 1000 * step}" for user in range(40) for step in range(10)]
    path = tmp_path / "twice.csv"
    path.write_text("\n".join(["user,item,timestamp", *(row for row in rows for _ in range(2))]) + "\n")
    arguments = ["--dataset", str(path), "--devices", "5", "--candidates", "unseen", "--out", str(tmp_path / "out")]
    assert call([*arguments, "--methods", "devicerec", "--quiet"], monkeypatch) == 2
    assert "; 50.0 % of the rows are exact duplicates: remove them first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"title": "Mine"}, "method mine: Mine has no name and no cloud_model"),
        ({"name": "mine", "title": "Mine", "cloud_model": "deviserec"}, "did you mean 'devicerec'"),
        ({"name": "mine", "title": "Mine", "cloud_model": "mine"}, "has no learner, by which the cloud model mine is"),
    ],
)
def test_a_method_that_lacks_what_every_method_says_is_one_line(
    config: Config, monkeypatch: pytest.MonkeyPatch, body: dict[str, object], why: str
) -> None:
    mine = type("Mine", (SessionStrategy,), body)
    monkeypatch.setitem(METHODS, "mine", mine)
    with pytest.raises(UserError, match=why):
        prepare(replace(config, methods="devicerec,mine", out=config.folder / "mine"))
