"""The device benchmark beside pfl: the same predictions, or no comparison."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.devices import ONE_PROCESS, PFL, Options, benchmark, measure, summary, void
from benchmarks.rounds_in_pfl import PFL_MISSING, cut
from clients.local_data import session_events


@pytest.mark.parametrize("candidates", ["unseen", "all"])
def test_a_user_of_pfl_has_the_predictions_of_a_device(candidates: str) -> None:
    random = np.random.default_rng(0)
    for past, now in ((0, 1), (2, 7), (9, 4)):
        before, during = (random.integers(1, 13, count).astype(np.int32) for count in (past, now))
        windows, wanted, excluded = cut(before, during, 5, 12, candidates)  # type: ignore[arg-type]
        events = session_events([before], [during], 5, candidates)  # type: ignore[arg-type]
        real = events.targets > 0
        assert torch.equal(windows, events.windows[real])
        assert torch.equal(wanted, events.targets[real])
        scores = torch.zeros(len(wanted), 12)
        if events.seen is not None:
            events.seen[real].exclude(scores)
        assert torch.equal(excluded, scores == -torch.inf)


def test_a_session_is_cut_by_hand() -> None:
    windows, wanted, excluded = cut(np.array([3, 1]), np.array([2, 3, 4]), 3, 4, "unseen")
    assert windows.tolist() == [[0, 3, 1], [1, 2, 3]]  # before 2 and before 4; 3 has been there before
    assert wanted.tolist() == [2, 4]
    assert excluded.tolist() == [[True, False, True, False], [True, True, True, False]]


def rows(**changed: float) -> pd.DataFrame:
    """Three measurements of the same devices: 10 s in pfl, 2 s in one process, 40 s in Ray."""
    same = {"method": "devicerec", "devices": 10, "predictions": 20_000, "hits": 300.0, "ndcg": 150.0}
    rates = {ONE_PROCESS: 500.0, PFL: 100.0, "ray": 25.0}
    found = [{**same, "backend": name, "per_second": rate, "seconds": 1_000 / rate} for name, rate in rates.items()]
    found[1].update(changed)
    return pd.DataFrame(found)


def test_speeds_are_compared_where_the_measures_agree() -> None:
    found = summary(rows(hits=302.0)).set_index("backend")  # two of 20,000 may be rounded otherwise
    assert found.loc[ONE_PROCESS, "times_pfl"] == 5
    assert found.loc[ONE_PROCESS, "times_ray"] == 20
    assert found.loc["ray", "times_pfl"] == 0.25
    assert void(found.reset_index()) == []


@pytest.mark.parametrize("changed", [{"hits": 303.0}, {"ndcg": 147.9}, {"predictions": 19_999}])
def test_a_peer_that_measures_something_else_is_not_compared(changed: dict[str, float]) -> None:
    found = summary(rows(**changed))
    assert found.set_index("backend").loc[ONE_PROCESS, "times_pfl"] != 5
    (line,) = void(found)
    assert line.startswith("devicerec, 10 devices: the comparison with pfl is void")


def test_without_pfl_there_is_no_row_and_nothing_is_void() -> None:
    without = rows()[lambda frame: frame["backend"] == "ray"]
    assert summary(without)["times_pfl"].isna().all()
    assert void(summary(without)) == []


def test_without_pfl_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played: list[tuple[str, int]] = []

    def note(options: Options, method: str, devices: int, backend: str) -> dict[str, object]:
        played.append((backend, devices))
        return dict.fromkeys(("method", "backend"), "") | dict.fromkeys(
            ("devices", "device_sessions", "per_second", "per_processor_second", "start_mb", "peak_mb"), 0
        )

    monkeypatch.setattr("benchmarks.devices._in_a_process", note)
    monkeypatch.setattr("benchmarks.devices.find_spec", lambda name: None)
    options = Options(sizes="5", methods="devicerec", repeats=2, ray=3, pfl=4)
    benchmark(options)
    assert PFL_MISSING in capsys.readouterr().out
    assert played == [("inprocess", 3), ("ray", 3)] * 2 + [("inprocess", 5)] * 2
    played.clear()
    monkeypatch.setattr("benchmarks.devices.find_spec", lambda name: True)
    benchmark(options)
    assert played[4:8] == [(ONE_PROCESS, 4), (PFL, 4)] * 2  # in turns


def test_pfl_measures_what_a_run_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pfl")
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path))
    options = Options(methods="devicerec", sessions=2)
    ours, theirs = (measure(options, "devicerec", 30, backend) for backend in (ONE_PROCESS, PFL))
    assert theirs["predictions"] == ours["predictions"] > 30
    assert theirs["hits"] == ours["hits"]
    assert theirs["ndcg"] == pytest.approx(ours["ndcg"])
    assert theirs["device_sessions"] == ours["device_sessions"]
