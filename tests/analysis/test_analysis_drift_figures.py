"""The figures and tables of a report on drifting interests, by hand."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.figures import change_point, requests, stale_fresh
from analysis.run import Run
from analysis.style import Sheet
from tests.analysis.test_analysis_drift import device
from tests.support.fake_run import plausible_rows


def run_of(*rows: pd.DataFrame) -> Run:
    titles = {"devicerec": "DeviceRec", "duet": "DUET"}
    options = {"run": {"methods": ["devicerec", "duet"], "seed": 0, "seeds": 1}, "titles": titles}
    return Run(Path("run"), options, pd.concat(rows, ignore_index=True), pd.DataFrame())


@pytest.fixture
def run() -> Run:
    """Three devices with the change in session 3; adapting in the session after it costs nobody anything."""
    stale, fresh = [5.0] * 7, [9.0, 5.0, 5.0, 5.0, 8.0, 5.0, 5.0]
    mine = [device(d, [0, 4] if d else [0, 1, 5], ndcg_stale=stale, ndcg_fresh=fresh) for d in range(3)]
    base = [device(d, []).assign(method="devicerec") for d in range(3)]
    return run_of(*base, *mine)


def test_the_share_that_asks_is_counted_from_each_devices_change(run: Run) -> None:
    frame = requests.data(run)
    assert frame is not None
    share = frame.set_index(["axis", "at"])["share"]
    assert frame["method"].unique().tolist() == ["duet"]
    assert share["change"].to_dict() == pytest.approx({-2: 1 / 3, -1: 0, 0: 0, 1: 2 / 3, 2: 1 / 3, 3: 0})
    assert share["session"].to_dict() == pytest.approx({2: 1 / 3, 3: 0, 4: 0, 5: 2 / 3, 6: 1 / 3, 7: 0})


def test_what_a_fresh_network_gains_leaves_out_the_first_session(run: Run) -> None:
    frame = stale_fresh.data(run)
    assert frame is not None
    gain = frame.set_index(["axis", "at"])["gain"]
    assert gain["session"].to_dict() == pytest.approx({2: 0, 3: 0, 4: 0, 5: 0.3, 6: 0, 7: 0})
    assert gain["change"].to_dict() == pytest.approx({-2: 0, -1: 0, 0: 0, 1: 0.3, 2: 0, 3: 0})
    for module in (requests, stale_fresh, change_point):
        frame = module.data(run)
        assert frame is not None
        assert len(module.draw(frame, Sheet()).axes) == 2


def test_a_run_in_which_no_policy_decides_has_neither() -> None:
    always = run_of(device(0, list(range(7))), device(1, list(range(7))))
    assert requests.data(always) is None
    assert stale_fresh.data(always) is None


def test_the_tables_say_what_the_measures_are(run: Run) -> None:
    nothing = pd.DataFrame()
    (change,), (asked,), (gains,) = (one.tables(run, nothing) for one in (change_point, requests, stale_fresh))
    assert [row[0].text for row in change.rows] == ["DeviceRec", "DUET"]
    assert [cell.text for cell in change.rows[1][1:5]] == ["0.5000", "0.2000", "80.0\u00a0%", "0.4000"]
    assert [cell.text.replace("\u00a0", " ") for cell in change.rows[1][-2:]] == ["3", "88.0 %"]
    words = [cell.text.replace("\u00a0", " ") for cell in asked.rows[0]]
    # Of 18 sessions after the first 4 with an adaptation; all notice it, after 2, 1 and 1 sessions; 1 of 9 calm ones.
    assert words[1:5] == ["22.2 %", "100.0 %", "1.33", "11.1 %"]
    assert [cell.text.replace("\u00a0", " ") for cell in gains.rows[0]] == ["DUET", "+0.0500", "22.2 %", "66.7 %"]
    said = stale_fresh.finding(run, nothing)
    assert "DUET +0.0500" in said
    assert "1.33 sessions after a change" in requests.finding(run, nothing)


def test_a_level_that_does_not_come_back_is_said() -> None:
    rows = plausible_rows(devices=20, sessions=3, methods=("duet",), drift=True)
    rows["ndcg"] = rows["events"] * rows["phase"].map({"before": 0.5, "during": 0.1, "after": 0.2})
    (table,) = change_point.tables(run_of(rows), pd.DataFrame())
    assert table.rows[0][-1].text == "not in the run"
