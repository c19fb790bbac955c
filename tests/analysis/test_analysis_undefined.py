"""Runs in which a quotient has no denominator: tables say so with a dash, and nothing ends in a traceback."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import figures
from analysis.comparison import settings
from analysis.figures import change_point, fairness, quality_sessions
from analysis.run import Run
from analysis.run_groups import compare_groups, group_runs
from analysis.sections import failures, results
from analysis.stats import change, quotients, ratio
from core.schema import STATUSES
from tests.support.fake_run import plausible_rows, plausible_training, write_run

NOTHING_RAN = {
    **dict.fromkeys(("path", "blocks", "macs", "macs_paper", "macs_session", "param_bits", "bits_down", "bits_up"), 0),
    **dict.fromkeys(("seconds_adapt", "seconds_inference", "joules", "hits", "ndcg"), 0),
    **dict.fromkeys(("served", "adapted", "requested"), False),
}


def test_a_ratio_without_a_denominator_is_not_defined() -> None:
    assert ratio(1, 4) == 0.25
    assert change(3, 2) == 0.5
    for top, bottom in ((1.0, 0.0), (0, 0), (math.nan, 1.0), (1.0, math.inf), (np.float64(1), np.int64(0))):
        assert math.isnan(ratio(top, bottom))
        assert math.isnan(change(top, bottom))
    found = quotients(np.array([1.0, 1.0, 0.0]), pd.Series([4, 0, 0]))
    assert found[0] == 0.25
    assert np.isnan(found[1:]).all()


def run_of(tmp_path: Path, rows: pd.DataFrame, **options: object) -> Run:
    methods = rows["method"].unique().tolist()
    return analysis.load(write_run(tmp_path / "run", rows, plausible_training(methods), methods, **options))


def words_of(run: Run) -> list[str]:
    """All that the sections of a report say, pictures left out."""
    tables = list(results.section(run).tables)
    said = [*results.in_short(run), *results.warnings(run)]
    for one in figures.collect(run).values():
        said.append(one.module.finding(run, one.frame))
        tables += one.module.tables(run, one.frame) if hasattr(one.module, "tables") else []
    if (section := failures.section(run)) is not None:
        tables += section.tables
    said += [text for table in tables for row in table.rows for cell in row for text in (cell.text, cell.note)]
    return said


@pytest.mark.parametrize("what", ["no hits", "no hits before the change", "nothing ran", "one device", "no events"])
def test_every_part_of_a_report_survives_zeros(tmp_path: Path, what: str) -> None:
    rows = plausible_rows(devices=1 if what == "one device" else 9, sessions=3, tiers=True, drift=True)
    if what == "no hits":
        quality = [name for name in rows if name.startswith(("hits", "ndcg", "mrr"))]
        rows = rows.assign(**dict.fromkeys(quality, 0))
    if what == "no hits before the change":
        before = rows["phase"] == "before"
        rows["hits"], rows["ndcg"] = rows["hits"].where(~before, 0), rows["ndcg"].where(~before, 0.0)
    if what == "nothing ran":
        rows = rows.assign(**NOTHING_RAN, ndcg_stale=math.nan, ndcg_fresh=math.nan)
    if what == "no events":
        quality = [name for name in rows if name.startswith(("hits", "ndcg", "mrr"))]
        rows = rows.assign(events=0, **dict.fromkeys(quality, 0))
    with np.errstate(divide="raise", invalid="raise"):
        said = words_of(run_of(tmp_path, rows, drift="abrupt"))
    assert said
    for text in said:
        assert not re.search(r"\b(nan|inf|infinity)\b", text, re.IGNORECASE), text


def test_what_was_nothing_before_has_no_relative_change(tmp_path: Path) -> None:
    rows = plausible_rows(devices=6, sessions=3, methods=("devicerec", "duet"), drift=True, tiers=True)
    mine = rows["method"] == "duet"
    early = mine & ((rows["phase"] == "before") | (rows["session"] == 0))
    rows["hits"], rows["ndcg"] = rows["hits"].where(~early, 0), rows["ndcg"].where(~early, 0.0)
    run = run_of(tmp_path, rows, drift="abrupt")
    (table,) = change_point.tables(run, pd.DataFrame())
    header = [name for name, _ in table.header]
    place = table.header.index(("Kept", "after, of before"))
    assert header[:2] == ["Method", "Before"]
    assert [row[1].text for row in table.rows][1] == "0.0000"
    assert table.rows[1][place].text == "–"
    frame = quality_sessions.data(run)
    assert frame is not None
    assert "DUET 0.0000 to" in quality_sessions.finding(run, frame)
    assert "(–)" in quality_sessions.finding(run, frame)


def test_a_comparison_with_nothing_has_dashes(tmp_path: Path) -> None:
    rows = plausible_rows(devices=5, sessions=2, methods=("devicerec", "duet"), tiers=True)
    zero = rows.assign(hits=0, ndcg=0.0)
    runs = [
        analysis.load(write_run(tmp_path / name, frame, methods=("devicerec", "duet"), scenario=name))
        for name, frame in (("a", zero), ("b", rows))
    ]
    groups = group_runs(runs)
    pairs = compare_groups(groups)
    (section,) = settings.paired_section(pairs, runs[0].title)
    assert [row[4].text for row in section.tables[0].rows] == ["–", "–"]
    frame = fairness.data(runs[0])
    assert frame is not None
    assert fairness.table(frame, runs[0].title).rows[0][3].text == "–"


def test_faults_of_the_software_stand_apart_from_what_the_scenario_lets_fail(tmp_path: Path) -> None:
    rows = plausible_rows(devices=4, sessions=1, methods=("devicerec",))
    (table,) = failures.section(run_of(tmp_path, rows.assign(status=["ok", "late", "dropped", "ok"]))).tables  # type: ignore[union-attr]
    assert [name for name, _ in table.header] == [
        *("Method", "Sessions", "Ok", "Late", "Dropped", "Vanished", "Rejected")
    ]  # fmt: skip
    run = run_of(tmp_path, rows.assign(status=["ok", "failed", "lost", "lost"]))
    section = failures.section(run)
    assert section is not None
    assert section.finding.replace("\u00a0", " ") == "75.0 % of all device-sessions did not end well."
    header = [name for name, _ in section.tables[0].header]
    assert header[-2:] == ["Failed", "Lost"]
    assert [cell.text for cell in section.tables[0].rows[0]] == ["DeviceRec", "4", "1", "0", "0", "0", "0", "1", "2"]
    (warning,) = failures.warnings(run)
    assert warning.startswith("3 device-sessions were not computed as intended: 1 failed (")
    assert STATUSES["lost"] in warning
    assert warning in results.warnings(run)
