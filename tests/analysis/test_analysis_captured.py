"""How much of what there is each method has captured, by hand; and that an oracle wins nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import analysis
from analysis import figures
from analysis.figures import tradeoff
from analysis.sections import results
from analysis.summary import summarise
from analysis.summary_table import terminal_table
from analysis.tables import Column, build
from tests.support.fake_run import plausible_rows, write_run

pytestmark = pytest.mark.usefixtures("two_are_enough")

LEVELS = {"devicerec": (0.1, 0.3), "duet": (0.4, 0.5), "cooccurrence": (0.2, 0.4), "cooccurrence-by-type": (0.6, 0.8)}
"""NDCG@10 of two devices with as many events each."""
ENDS = ("captured", "captured_low", "captured_high")


def rows(levels: dict[str, tuple[float, float]]) -> pd.DataFrame:
    found = plausible_rows(devices=2, sessions=1, methods=tuple(levels)).assign(events=10, hits=10)
    for name in ("path", "blocks", "macs", "macs_paper", "param_bits"):
        found.loc[found["method"].str.startswith("cooccurrence"), name] = 0
    level = [levels[method][device] for method, device in zip(found["method"], found["device"], strict=True)]
    return found.assign(ndcg=10 * np.array(level), adapted=found["method"] == "duet")


def test_what_is_captured_is_what_one_computes_by_hand() -> None:
    """DUET is 0.15 of 0.4 above the one table; of two devices a draw holds one of them twice, or both."""
    table = summarise(rows(LEVELS)).set_index("method")
    assert table.loc["duet", list(ENDS)].tolist() == pytest.approx([0.15 / 0.4, 0.1 / 0.4, 0.2 / 0.4])
    assert table.loc["devicerec", list(ENDS)].tolist() == pytest.approx([-0.25] * 3)
    assert table.loc[["cooccurrence", "cooccurrence-by-type"], list(ENDS)].isna().all(axis=None)


@pytest.mark.parametrize(
    "levels",
    [
        {name: level for name, level in LEVELS.items() if name != "cooccurrence"},
        {name: level for name, level in LEVELS.items() if name != "cooccurrence-by-type"},
        LEVELS | {"cooccurrence-by-type": (0.1, 0.9)},  # one of the devices has no more of its type's table
    ],
)
def test_nothing_is_said_where_it_is_not_known_what_there_is(levels: dict[str, tuple[float, float]]) -> None:
    assert summarise(rows(levels))[list(ENDS)].isna().all(axis=None)


def test_report_and_terminal_say_what_is_captured(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path, rows(LEVELS), methods=tuple(LEVELS)))
    (said,) = (text for text in results.in_short(run) if "captured" in text)
    assert said.replace("\u00a0", " ") == (
        "One table of counts for all reaches NDCG@10 0.3000, and tables by type of user, which only an oracle has, "
        "0.7000. Of what lies between, DeviceRec, which never adapts, has −25.0 % (−25.0 % to −25.0 %); adaptation "
        "captured: DUET +37.5 % (+25.0 % to +50.0 %)."
    )
    assert "Captured" in [name for name, _ in results.section(run).tables[0].header]
    console = Console(width=80, record=True, force_terminal=False)
    console.begin_capture()
    console.print(terminal_table(run))
    lines = console.end_capture().replace("\u00a0", " ").splitlines()
    place = next(line.index("room") for line in lines if "room" in line)
    rows_shown = [line for line in lines if line.startswith(("DeviceRec ", "DUET ", "cooccurrence")) and "0." in line]
    assert [line[place - 1 : place + 4].strip() for line in rows_shown] == ["−25", "38", "0", "100"]
    assert "0 is cooccurrence (one table of counts for all), 100 is cooccurrence-by-type" in " ".join(
        " ".join(lines).split()
    )


def test_the_oracle_wins_nothing(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path, rows(LEVELS), methods=tuple(LEVELS)))
    said = " ".join(results.in_short(run))
    assert "DUET has the highest NDCG@10 of 3 methods (an oracle is not counted): 0.4500" in said
    assert "NDCG@10 without a network: cooccurrence 0.3000; DeviceRec stays below cooccurrence." in said
    table = build(run.summary, [Column("NDCG@10", "ndcg@10", str, best=max)])
    assert [row[0].best for row in table.rows] == [False, True, False, False]
    assert "cooccurrence-by-type" in run.references
    several = plausible_rows(devices=20, sessions=3, methods=tuple(LEVELS))
    for name in ("path", "blocks", "macs", "macs_paper", "param_bits"):
        several.loc[several["method"].str.startswith("cooccurrence"), name] = 0
    curves = figures.collect(analysis.load(write_run(tmp_path / "b", several, methods=tuple(LEVELS))))
    drawn = [line.get_label() for line in curves["quality_sessions"].figure().axes[1].get_lines()]
    front = tradeoff.data(run)
    assert front is not None
    fronts = front.set_index("method")[["front_macs", "front_mbit"]].any(axis=1)
    assert fronts["duet"]
    assert not fronts["cooccurrence-by-type"]
    assert "cooccurrence" in drawn
    assert "cooccurrence-by-type" not in drawn
