"""Runs that differ in how networks come to devices: one row a method and delivery, and nothing where nothing comes."""

from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.compare import compare
from analysis.comparison import tabulate
from analysis.comparison.deliveries import by_delivery, finding, given_away
from analysis.run_groups import group_runs
from core import schema
from tests.support.fake_run import plausible_rows, write_run

METHODS = ("devicerec", "duet", "forward-ofa")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Weights, a code of 8 bits and local; DeviceRec is sent nothing in any of them."""
    rows = plausible_rows(devices=12, methods=METHODS)
    rows["macs_session"] = 1e6
    sent = rows["method"] != "devicerec"
    found = []
    for name, down, up, options in (
        ("weights", 4_000_000, 2056, {}),
        ("code", 20_000, 2056, {"delivery": "code", "code_bits": 8}),
        ("local", 0, 0, {"delivery": "local", "code_bits": 8}),
    ):
        mine = rows.assign(bits_down=sent * down, bits_up=sent * up)
        folder = write_run(tmp_path / name, mine, methods=METHODS, **options)
        table = pd.DataFrame({"seed": 0, "method": METHODS, "recommended": 3, "items": 9, "bits_installed": 5e6})
        table.assign(month_sessions=2.0, month_bits=5e6 + 2 * down, month_joules=0.5).to_csv(
            folder / "coverage.csv", index=False
        )
        found.append(folder)
    return found


def test_a_row_for_each_method_and_delivery_by_hand(folders: list[Path]) -> None:
    groups = group_runs([analysis.load(folder) for folder in folders])
    assert [group.label for group in groups] == ["delivery weights", "delivery code of 8 bits", "delivery local"]
    frame = by_delivery(tabulate(groups), {"A": "weights", "B": "code of 8 bits", "C": "local"})
    assert frame.columns.tolist() == schema.names(schema.DELIVERIES)
    assert frame[["setting", "method"]].to_numpy().tolist() == [
        [setting, method] for setting in "ABC" for method in ("duet", "forward-ofa")
    ]
    ways = frame.groupby("delivery", sort=False)
    assert ways["session_mbit"].mean().tolist() == pytest.approx([4.002056, 0.022056, 0])
    assert ways["month_mbit"].mean().tolist() == pytest.approx([13, 5.04, 5])
    said = finding(frame, str)
    assert "code of 8 bits: NDCG@10 " in said
    assert "0.0221 Mbit and" in said
    assert "5.04 Mbit and 0.500 J in the first month" in said


def test_what_an_attacker_names_stands_beside_the_costs(folders: list[Path]) -> None:
    """A code gives away what the attackers of its requests found; where nothing is asked, what they find without."""
    for folder, of_duet in zip(folders[:2], (0.2, 0.3), strict=True):
        rows = [
            {"measure": measure, "method": method, "attack": attack, "value": value}
            for method, read, unread in (("duet", of_duet, 0.05), ("forward-ofa", 0.14, 0.06))
            for measure, attack, value in (
                ("recall@10", "uploads", read),
                ("recall@10", "upload", 0.9),
                ("recall@10", "history", unread),
                ("recall@50", "uploads", 0.8),
            )
        ]
        pd.DataFrame(rows).to_csv(folder / "privacy.csv", index=False)
    groups = group_runs([analysis.load(folder) for folder in folders])
    ways = {"A": "weights", "B": "code of 8 bits", "C": "local"}
    named = by_delivery(tabulate(groups), ways, given_away(groups)).set_index(["setting", "method"])["named"]
    assert named.unstack().to_numpy().tolist() == [[0.2, 0.14], [0.3, 0.14], [0.05, 0.06]]
    assert by_delivery(tabulate(groups), ways)["named"].isna().all()


def test_a_comparison_writes_them_where_deliveries_differ(folders: list[Path], tmp_path: Path) -> None:
    page = compare(folders, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "deliveries.csv")
    assert len(table) == 6
    assert (tmp_path / "out" / "figures" / "deliveries.png").exists()
    assert "How a network comes to its device" in page.read_text(encoding="utf-8")
    rows = plausible_rows(devices=12, methods=METHODS)
    same = [folders[0], write_run(tmp_path / "other", rows, methods=METHODS, context=20)]
    other = compare(same, tmp_path / "same")
    assert not (tmp_path / "same" / "deliveries.csv").exists()
    assert "How a network comes to its device" not in other.read_text(encoding="utf-8")
