"""Several runs: what counts as one setting, which devices are the same, and what comes out."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w

import analysis
from analysis.compare import compare, main
from analysis.comparison import tabulate
from analysis.run_groups import compare_groups, group_runs
from analysis.summary import summarise
from core.errors import UserError
from tests.support.fake_run import METHODS, plausible_rows, write_run


def test_runs_that_differ_in_seed_only_are_one_setting(tmp_path: Path) -> None:
    rows = plausible_rows(devices=30, seeds=(0, 1))
    first = write_run(tmp_path / "a", rows[rows["seed"] == 0])
    second = write_run(tmp_path / "b", rows[rows["seed"] == 1])

    (setting,) = group_runs([analysis.load(first), analysis.load(second)])

    assert setting.label == "all runs"
    assert setting.seeds == [0, 1]
    pd.testing.assert_frame_equal(setting.summary, summarise(rows, METHODS))


def test_settings_are_named_by_what_sets_them_apart(tmp_path: Path) -> None:
    rows = plausible_rows(devices=10)
    runs = [
        write_run(tmp_path / "a", rows, scenario="mixed"),
        write_run(tmp_path / "b", rows, backbone="nextitnet"),
        write_run(tmp_path / "c", rows, scenario="mixed", context=20),
    ]

    settings = group_runs([analysis.load(run) for run in runs])

    assert [(setting.name, setting.label) for setting in settings] == [
        ("A", "SASRec, context 10, scenario mixed"),
        ("B", "NextItNet, context 10, scenario paper-device"),
        ("C", "SASRec, context 20, scenario mixed"),
    ]


def test_methods_of_two_runs_come_together_and_common_rows_count_once(tmp_path: Path) -> None:
    rows = plausible_rows(devices=30)
    left, right = ("devicerec", "duet"), ("devicerec", "forward-ofa")
    runs = [
        write_run(tmp_path / "a", rows[rows["method"].isin(left)], methods=left),
        write_run(tmp_path / "b", rows[rows["method"].isin(right)], methods=right),
    ]

    (setting,) = group_runs([analysis.load(run) for run in runs])

    assert setting.methods == ["devicerec", "duet", "forward-ofa"]
    assert len(setting.sessions) == len(rows) * 3 // 4


def test_runs_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    rows = plausible_rows(devices=10)
    changed = rows.assign(hits=rows["hits"].where(rows.index != 3, 1), ndcg=rows["ndcg"].where(rows.index != 3, 0.1))
    runs = [write_run(tmp_path / "a", rows), write_run(tmp_path / "b", changed)]

    with pytest.raises(UserError, match="both hold devicerec with seed 0"):
        group_runs([analysis.load(run) for run in runs])


def test_the_paired_difference_is_over_the_devices_that_both_have(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, methods=("duet",))
    fewer = rows[rows["device"] < 12]
    better = fewer.assign(hits=fewer["events"], ndcg=fewer["ndcg"] + 0.05 * fewer["events"])
    methods = ("duet",)
    runs = [
        write_run(tmp_path / "a", rows, methods=methods),
        write_run(tmp_path / "b", better, methods=methods, scenario="mixed"),
    ]

    (row,) = compare_groups(group_runs([analysis.load(run) for run in runs])).to_dict("records")

    assert (row["reference"], row["setting"], row["method"], row["devices"]) == ("A", "B", "duet", 12)
    assert row["ndcg@10_reference"] == pytest.approx(fewer["ndcg"].sum() / fewer["events"].sum())
    assert row["ndcg@10_delta"] == pytest.approx(0.05)
    assert (row["ndcg@10_delta_low"], row["ndcg@10_delta_high"]) == (pytest.approx(0.05), pytest.approx(0.05))


def test_settings_with_different_numbers_of_seeds_are_paired_by_the_seeds_that_both_have(tmp_path: Path) -> None:
    """The other seed is worthless in all that it does, and is not compared."""
    once = plausible_rows(devices=20, methods=("duet",))
    twice = pd.concat([once, once.assign(seed=1, hits=0, ndcg=0.0)])
    methods = ("duet",)
    runs = [
        write_run(tmp_path / "a", once, methods=methods),
        write_run(tmp_path / "b", twice, methods=methods, scenario="mixed"),
    ]

    (row,) = compare_groups(group_runs([analysis.load(run) for run in runs])).to_dict("records")

    assert (row["devices"], row["seeds"]) == (20, 1)
    assert row["ndcg@10_delta"] == pytest.approx(0, abs=1e-12)


def test_methods_that_have_not_the_same_seeds_are_no_setting(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, seeds=(0, 1))
    first = rows[rows["method"] == "devicerec"]
    second = rows[(rows["method"] == "duet") & (rows["seed"] == 0)]
    runs = [
        write_run(tmp_path / "a", first, methods=("devicerec",)),
        write_run(tmp_path / "b", second, methods=("duet",)),
    ]

    with pytest.raises(UserError, match="duet was not played with seed 1, as other methods were; play it with it, too"):
        group_runs([analysis.load(run) for run in runs])


def test_a_device_of_another_seed_is_another_user(tmp_path: Path) -> None:
    """Seed 1 has drawn the users 5 to 24 and numbered them from 0: 15 of them are devices of seed 0, too."""
    rows = plausible_rows(devices=20, seeds=(0, 1))
    rows["user"] = rows["device"] + 5 * rows["seed"]
    runs = [write_run(tmp_path / str(seed), rows[rows["seed"] == seed], seed=seed) for seed in (0, 1)]

    (setting,) = group_runs([analysis.load(run) for run in runs])

    assert setting.summary["devices"].tolist() == [25] * 4
    pd.testing.assert_frame_equal(setting.summary, summarise(rows.assign(device=rows["user"]), METHODS))


def test_users_are_paired_and_not_their_numbers(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, methods=("duet",))
    rows = rows.assign(user=rows["device"], events=10)  # as many events everywhere: numbers alone would look the same
    others = rows.assign(user=rows["device"] + 18, ndcg=rows["ndcg"] / 2)
    runs = [
        write_run(tmp_path / "a", rows, methods=("duet",)),
        write_run(tmp_path / "b", others, methods=("duet",), scenario="mixed"),
    ]

    (row,) = compare_groups(group_runs([analysis.load(run) for run in runs])).to_dict("records")

    mine, theirs = rows[rows["user"].isin([18, 19])], others[others["user"].isin([18, 19])]
    assert row["devices"] == 2
    assert row["ndcg@10_delta"] == pytest.approx((theirs["ndcg"].sum() - mine["ndcg"].sum()) / mine["events"].sum())


def test_the_content_of_the_data_decides_what_is_the_same(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, methods=("duet",))
    runs = [write_run(tmp_path / name, rows, methods=("duet",)) for name in ("a", "b")]
    (same,) = group_runs([analysis.load(run) for run in runs])
    assert len(same.runs) == 2
    for run, content in zip(runs, ("1a2b", "3c4d"), strict=True):
        config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
        config.setdefault("data", {})["content"] = content
        (run / "config.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    settings = group_runs([analysis.load(run) for run in runs])
    assert [one.label for one in settings] == ["data 1a2b", "data 3c4d"]
    assert compare_groups(settings)["devices"].tolist() == [0]
    page = compare(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert "B cannot be paired with A: their data are not the same." in page


def test_other_candidates_are_not_compared(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, methods=("duet",))
    runs = [write_run(tmp_path / one, rows, methods=("duet",), candidates=one) for one in ("unseen", "all")]
    assert compare_groups(group_runs([analysis.load(run) for run in runs]))["devices"].tolist() == [0]
    page = compare(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert "B cannot be paired with A: their devices choose from other candidates." in page


def test_a_difference_that_is_not_told_apart_is_marked_in_a_comparison_too(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, methods=("devicerec", "duet"))
    base = rows[rows["method"] == "devicerec"].reset_index(drop=True)
    coin = np.where(base["device"] % 2 == 0, 1.2, 0.81)
    same = pd.concat([base, base.assign(method="duet", ndcg=np.minimum(base["ndcg"] * coin, base["hits"]))])
    methods = ("devicerec", "duet")
    runs = [write_run(tmp_path / one, same, methods=methods, scenario=one) for one in ("mixed", "phones")]
    settings = group_runs([analysis.load(run) for run in runs])
    low, high = settings[0].summary.set_index("method").loc["duet", ["ndcg@10_delta_low", "ndcg@10_delta_high"]]
    assert low < 0 < high
    page = " ".join(compare(runs, tmp_path / "out").read_text(encoding="utf-8").replace("\u00a0", " ").split())
    assert page.count("% (not told apart)") >= 2


@pytest.mark.parametrize("why", ["another data set", "other events"])
def test_devices_that_are_not_the_same_are_not_paired(tmp_path: Path, why: str) -> None:
    rows = plausible_rows(devices=20, methods=("duet",))
    other = rows if why == "another data set" else rows.assign(events=rows["events"] + 1)
    options = {"dataset": "amazon-game"} if why == "another data set" else {"scenario": "mixed"}
    first = write_run(tmp_path / "a", rows, methods=("duet",))
    second = write_run(tmp_path / "b", other, methods=("duet",), **options)

    (row,) = compare_groups(group_runs([analysis.load(first), analysis.load(second)])).to_dict("records")

    assert row["devices"] == 0
    assert np.isnan(row["ndcg@10_delta"])
    page = compare([first, second], tmp_path / "out").read_text(encoding="utf-8")
    assert "B cannot be paired with A" in page


def test_the_comparison_is_written_whole_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        write_run(tmp_path / "plain", plausible_rows(devices=40, seeds=(0, 1))),
        write_run(tmp_path / "mixed", plausible_rows(devices=40, tiers=True), scenario="mixed"),
    ]
    before = {path: path.read_bytes() for run in runs for path in run.rglob("*")}

    assert main([*map(str, runs), "--out", str(tmp_path / "one")]) == 0
    page = compare(runs, tmp_path / "two")

    names = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{kind}" for name in ("settings", "mixes") for kind in ("png", "pdf", "csv")}
    assert names == {"comparison.csv", "paired.csv", "tiers.csv", "fairness.csv", "comparison.html"} | figures
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert {path: path.read_bytes() for run in runs for path in run.rglob("*")} == before
    table = pd.read_csv(page.parent / "comparison.csv")
    pd.testing.assert_frame_equal(table, tabulate(group_runs([analysis.load(run) for run in runs])))
    printed = " ".join(capsys.readouterr().out.split())
    assert "A: scenario paper-device" in printed
    protocol = "Candidates: all 3,011 items; cut-off 10; seeds: 0 and 1."
    assert protocol in printed
    assert page.read_text(encoding="utf-8").count(protocol) == 3  # at the head, below the results, and as their label
    assert "…" not in printed


def test_without_a_folder_it_is_written_beside_the_first_run(tmp_path: Path) -> None:
    rows = plausible_rows(devices=10, methods=("duet",))
    runs = [write_run(tmp_path / name, rows, methods=("duet",), scenario=name) for name in ("first", "second")]

    page = compare(runs)

    assert page.parent.parent == tmp_path
    assert page.parent.name.startswith("comparison-")
    assert compare(runs[::-1]).parent == page.parent


def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", plausible_rows(devices=5))

    assert main([str(run)]) == 2
    assert "at least two" in capsys.readouterr().err
    assert main([str(run), str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_method_that_never_hits_has_no_relative_difference(tmp_path: Path) -> None:
    rows = plausible_rows(devices=10)
    nothing = rows.assign(hits=0, ndcg=0.0)
    runs = [write_run(tmp_path / "a", nothing, scenario="mixed"), write_run(tmp_path / "b", rows, scenario="uniform")]

    page = compare(runs).read_text(encoding="utf-8")

    assert "NDCG@10 of the same devices: DeviceRec –" in page
