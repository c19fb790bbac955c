"""Kinds of devices by hand: costs, fairness, budgets, and what became of their sessions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import figures
from analysis.compare import compare
from analysis.figures import budget
from analysis.report import build_report
from analysis.tiers import fairness, statuses, tier_table
from tests.support.fake_run import plausible_rows, write_run


def rows(tier: str, method: str, **columns: object) -> pd.DataFrame:
    """Device-sessions of one tier and method, one per device."""
    base = plausible_rows(devices=1, sessions=1, methods=(method,))
    count = max(len(value) for value in columns.values() if isinstance(value, list))
    frame = pd.concat([base] * count, ignore_index=True).assign(**{"tier": tier, "adapted": True, **columns})
    first = {"weak": 0, "strong": 100}[tier]
    return frame.assign(device=np.arange(first, first + count))


WEAK = rows(
    "weak",
    "duet",
    events=[1, 1, 1, 1],
    ndcg=[0.5, 0.0, 0.0, 0.5],
    hits=[1, 0, 0, 1],
    served=[True, True, False, True],
    adapted=[True, True, False, True],
    blocks=[1, 2, 0, 3],
    macs=[1_000_000, 2_000_000, 0, 3_000_000],
    seconds_adapt=[0.1, 0.2, 0.0, 0.4],
    seconds_inference=[1e-3, 2e-3, 0.0, 3e-3],
    bits_down=[10**6, 2 * 10**6, 0, 10**6],
    bits_up=[0, 0, 0, 4 * 10**6],
    joules=[1.0, 2.0, 0.0, 5.0],
)
STRONG = rows("strong", "duet", events=[2, 2], ndcg=[1.0, 0.6], hits=[2, 1], seconds_inference=[1e-5, 1e-5])


@pytest.mark.usefixtures("two_are_enough")
def test_what_a_kind_of_device_gets_and_pays() -> None:
    found = tier_table(pd.concat([WEAK, STRONG]), ["weak", "strong"], ["duet"]).set_index("tier").loc["weak"]
    assert (found["devices"], found["sessions"], found["ndcg@10"], found["hit@10"]) == (4, 4, 0.25, 0.5)
    assert (found["served"], found["blocks"], found["macs_m"]) == (0.75, 2.0, 2.0)
    # of the three that adapted: 100, 200, 400 ms; the 95th percentile lies nine tenths of the way from 200 to 400
    assert (found["adapt_ms"], found["adapt_ms_p95"]) == pytest.approx((200, 380))
    assert (found["inference_us"], found["inference_us_p95"]) == pytest.approx((2000, 2900))
    assert (found["mbit"], found["joules"]) == pytest.approx((2.0, 2.0))
    assert 0 <= found["low"] < 0.25 < found["high"] <= 0.5


def test_the_worst_kind_of_device_against_the_best() -> None:
    found = fairness(pd.concat([WEAK, STRONG]), ["weak", "strong"], ["duet"]).iloc[0]
    assert (found["worst_tier"], found["best_tier"]) == ("weak", "strong")
    assert (found["worst"], found["best"], found["ratio"]) == pytest.approx((0.25, 0.4, 0.625))
    assert found["low"] < 0.625 < found["high"]
    assert fairness(WEAK, ["weak"], ["duet"]).empty


def test_every_session_that_failed_is_counted_once_and_none_if_none_did() -> None:
    status = WEAK.assign(status=["ok", "late", "late", "vanished"])
    found = statuses(pd.concat([status, STRONG]), ["weak", "strong"], ["duet"])
    assert found is not None
    assert found[["method", "tier"]].to_numpy().tolist() == [["duet", "weak"], ["duet", "strong"]]
    assert found["sessions"].tolist() == [4, 2]
    counts = found[["ok", "late", "dropped", "vanished", "rejected"]].to_numpy().tolist()
    assert counts == [[1, 2, 0, 1, 0], [2, 0, 0, 0, 0]]
    assert statuses(pd.concat([WEAK, STRONG]), ["weak", "strong"], ["duet"]) is None


def test_quality_against_budget_takes_near_budgets_together(tmp_path: Path) -> None:
    base = plausible_rows(devices=12, sessions=2, methods=("devicerec", "duet"))
    ceiling = base["device"].map(lambda d: [1.0e6, 1.02e6, 4e6, np.inf][d % 4])
    served = (base["device"] % 4 != 0) | (base["method"] != "duet")
    frame = budget.data(
        analysis.load(
            write_run(tmp_path, base.assign(budget_macs=ceiling, served=served), methods=["devicerec", "duet"])
        )
    )
    assert frame is not None
    duet = frame[frame["method"] == "duet"].set_index("at")
    assert duet["devices"].to_dict() == {0: 6, 1: 3}
    assert duet["budget_macs_m"].to_dict() == pytest.approx({0: 1.01, 1: 4.0})
    assert duet["served"].to_dict() == {0: 0.5, 1: 1.0}
    mine = base[(base["method"] == "duet") & (base["device"] % 4 == 2)]
    assert duet.loc[1, "ndcg@10"] == pytest.approx(mine["ndcg"].sum() / mine["events"].sum())


def test_a_run_without_ceilings_has_no_quality_against_budget(tmp_path: Path) -> None:
    assert budget.data(analysis.load(write_run(tmp_path, plausible_rows(devices=8)))) is None


def test_report_and_comparison_show_the_kinds_of_devices_and_their_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURES", {"fairness": figures.FIGURES["fairness"]})  # each takes about a second
    methods = ["duet", "forward-ofa"]
    base = plausible_rows(devices=12, sessions=1, methods=methods, tiers=True).assign(adapted=True)
    bad = base.assign(status=np.where(base["device"] == 3, "dropped", "ok"))
    good, failing = (
        write_run(tmp_path / name, frame, methods=methods, scenario=name) for name, frame in (("a", base), ("b", bad))
    )
    assert "What became of the sessions" in build_report(failing).read_text("utf-8")
    table = pd.read_csv(failing / "tiers.csv")
    assert len(table) == 3 * 2
    assert (failing / "figures" / "fairness.csv").is_file()
    page = compare([good, failing], tmp_path / "both")
    assert "When the mix of devices shifts" in page.read_text("utf-8")
    both = pd.read_csv(tmp_path / "both" / "tiers.csv")
    assert both[both["setting"] == "B"].drop(columns="setting").reset_index(drop=True).equals(table)
    lost = pd.read_csv(tmp_path / "both" / "failures.csv")
    assert lost["setting"].unique().tolist() == ["B"]
    assert lost["dropped"].sum() == 2  # one device with one session, two methods
    worst = pd.read_csv(tmp_path / "both" / "figures" / "mixes.csv").set_index(["setting", "method"])["worst"]
    mine = both[(both["setting"] == "A") & (both["method"] == "duet")]
    assert worst["A", "duet"] == pytest.approx(mine["ndcg@10"].min())
