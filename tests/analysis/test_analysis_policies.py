"""Comparing policies: what is one world, what is paired with random, and what a sweep's page holds."""

import itertools
import math
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.compare import compare, comparison
from analysis.comparison import request_curves
from analysis.policies import by_world, called, measure, swept, worlds
from analysis.run_groups import RunGroup, group_runs
from analysis.style import Sheet
from tests.support.fake_run import plausible_rows, write_run

METHODS = ("devicerec", "duet")


def sweep(folder: Path) -> list[Path]:
    """Two drifts; under the first, three policies: one gains 0.05 NDCG@10 over random in every event of a device."""
    rows = plausible_rows(devices=30, methods=METHODS, drift=True)
    rows = rows.assign(hits=rows["events"], ndcg=rows["ndcg"] * 0.5)  # room for more
    better = rows.assign(ndcg=rows["ndcg"] + 0.05 * rows["events"] * (rows["method"] == "duet"))
    runs = {
        "a": (rows, {"drift": "abrupt", "policy": "random", "request_rate": 0.3}),
        "b": (better, {"drift": "abrupt", "policy": "mrd", "request_rate": 0.3}),
        "c": (rows, {"drift": "abrupt", "policy": "always"}),
        "d": (rows, {"drift": "gradual", "policy": "mrd", "request_rate": 0.3}),
    }
    return [write_run(folder / name, own, methods=METHODS, **options) for name, (own, options) in runs.items()]  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> list[RunGroup]:
    return group_runs([analysis.load(run) for run in sweep(tmp_path)])


def test_a_world_is_what_differs_only_in_when_devices_ask(settings: list[RunGroup]) -> None:
    assert {world: [one.name for one in members] for world, members in worlds(settings).items()} == {
        "drift abrupt": ["A", "B", "C"],
        "drift gradual": ["D"],
    }
    assert swept(settings)
    assert list(worlds(settings[:3])) == ["drift abrupt"]


def test_worlds_of_files_with_one_name_stay_apart(tmp_path: Path) -> None:
    rows = plausible_rows(devices=12, sessions=3, drift=True)
    runs = [
        write_run(tmp_path / f"{i}", rows, drift=drift, policy=policy)
        for i, (drift, policy) in enumerate(itertools.product(("abrupt", "mine/abrupt.toml"), ("always", "random:0.5")))
    ]
    groups = group_runs([analysis.load(run) for run in runs])
    assert [len(members) for members in worlds(groups).values()] == [2, 2]
    assert measure(groups)["setting"].unique().tolist() == ["A", "B", "C", "D"]
    assert len({group.label for group in groups}) == 4


def test_runs_that_ask_alike_are_no_sweep(tmp_path: Path) -> None:
    rows = plausible_rows(devices=5)
    runs = [write_run(tmp_path / name, rows, scenario=name) for name in ("one", "two")]
    assert not swept(group_runs([analysis.load(run) for run in runs]))


def test_a_policy_is_paired_with_random_at_the_same_budget_in_the_same_world(settings: list[RunGroup]) -> None:
    frame = measure(settings).set_index("setting")
    assert frame["method"].unique().tolist() == ["duet"]
    assert frame.loc["B", "random_delta"] == pytest.approx(0.05)
    assert frame.loc["B", ["random_low", "random_high"]].tolist() == pytest.approx([0.05, 0.05])
    assert frame.loc["B", "random_p"] < 0.01
    assert frame.loc[["A", "C", "D"], "random_p"].isna().all()
    base = settings[0].summary.set_index("method").loc["devicerec", "ndcg@10"]
    assert frame.loc["A", "devicerec"] == pytest.approx(base)


def test_each_world_stands_with_the_policy_always_if_it_has_it(settings: list[RunGroup]) -> None:
    frame = by_world(settings)
    assert frame[["world", "policy", "method"]].drop_duplicates().to_numpy().tolist() == [
        ["drift abrupt", "always", "devicerec"],
        ["drift abrupt", "always", "duet"],
        ["drift gradual", "mrd at 30 %".replace(" %", "\u00a0%"), "devicerec"],
        ["drift gradual", "mrd at 30 %".replace(" %", "\u00a0%"), "duet"],
    ]
    changed = settings[2].sessions.query("method == 'duet' and phase == 'after'")
    assert frame.loc[1, "after"] == pytest.approx(changed["ndcg"].sum() / changed["events"].sum())


def test_the_page_of_a_sweep(tmp_path: Path) -> None:
    page, table = comparison(sweep(tmp_path), tmp_path / "out")
    words = page.read_text(encoding="utf-8")
    names = {path.name for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    assert {"policies.csv", "around.csv", "comparison.csv", "paired.csv", "comparison.html"} <= names
    for drift in ("abrupt", "gradual"):
        assert f"requests-drift-{drift}.png" in names
        assert f"What asking buys: drift {drift}" in words
    assert "better than random with the same budget, beyond noise: mrd at 30" in words
    assert len(pd.read_csv(tmp_path / "out" / "policies.csv")) == 4
    assert table.row_count == 4
    assert called("always", math.nan) == "always"


def test_the_picture_says_which_shares_of_the_gain_it_leaves_out(tmp_path: Path) -> None:
    compare(sweep(tmp_path), tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "policies.csv").iloc[:2].assign(method="duet", captured_low=[0.2, math.nan])
    panel = request_curves.draw(frame, Sheet()).axes[2]
    assert [text.get_text() for text in panel.texts] == ["1 of 2 not drawn:\nthe gain may be none"]
    assert not request_curves.draw(frame.assign(captured_low=0.2), Sheet()).axes[2].texts


def test_streams_without_a_change_have_a_line_of_dashes(tmp_path: Path) -> None:
    calm = plausible_rows(devices=30, methods=METHODS)
    runs = [write_run(tmp_path / "calm", calm, methods=METHODS, drift="natural"), *sweep(tmp_path)[:1]]
    frame = by_world(group_runs([analysis.load(run) for run in runs])).set_index(["world", "method"])
    natural = frame.loc[("drift natural", "duet")]
    assert natural["ndcg@10"] > 0
    assert math.isnan(natural["before"])
    assert "–" in compare(runs, tmp_path / "out").read_text(encoding="utf-8")


def test_runs_of_a_method_that_never_adapts_can_be_compared(tmp_path: Path) -> None:
    rows = plausible_rows(devices=5, methods=("devicerec",), drift=True)
    runs = [write_run(tmp_path / drift, rows, methods=("devicerec",), drift=drift) for drift in ("abrupt", "gradual")]
    page, table = comparison(runs, tmp_path / "out")
    assert table.row_count == 0
    assert "DeviceRec is best" in page.read_text(encoding="utf-8")
