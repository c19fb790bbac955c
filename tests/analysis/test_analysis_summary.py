"""The summary against numbers computed by hand, and the bootstrap against an independent one."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import norm, t

import analysis
from analysis.stats import p_value, paired, ratios
from analysis.summary import by_seed, compare_devices, device_sums, each_against_each, mdac, of_method, summarise
from analysis.summary_table import terminal_table
from core.schema import PAIRS, SEEDS, SUMMARY, names
from tests.support.fake_run import plausible_rows, write_run

pytestmark = pytest.mark.usefixtures("two_are_enough")

CONTRACT = [
    *("method", "devices", "sessions", "events", "hit@10", "ndcg@10", "macs_m", "param_mbit"),
    *("requests_per_session", "uplink_kbit", "downlink_mbit", "served", "seconds_adapt", "joules"),
]
COMMON = {
    **{"seed": 0, "requested": False, "path": 0b11, "blocks": 2, "macs": 2_000_000, "macs_paper": 2_500_000},
    **{
        "macs_session": 9_000_000,
        "param_bits": 4_000_000,
        "bits_down": 0,
        "bits_up": 0,
        "seconds_adapt": 0.0,
        "joules": 0.0,
    },
    **{"seconds_inference": 0.001, "served": True, "tier": "phone", "phase": "stationary"},
}
UNSERVED = {"served": False, "macs": 0, "path": 0, "blocks": 0, "param_bits": 0}
ASKED = {"requested": True, "bits_up": 2000, "bits_down": 6_000_000, "joules": 3.0, "seconds_adapt": 0.6}
SHORT = {"path": 0b1, "blocks": 1, "macs": 1_000_000, "macs_session": 4_000_000, "param_bits": 1_000_000}


def _row(
    method: str, device: int, session: int, events: int, hits: int, ndcg: float, **other: object
) -> dict[str, object]:
    own = {
        "method": method,
        "device": device,
        "session": session,
        "events": events,
        "hits": hits,
        "ndcg": ndcg,
    }
    return {**COMMON, **own, **other}


@pytest.fixture
def two_devices() -> pd.DataFrame:
    """Device 0 plays two sessions (2 and 6 events), device 1 one (2 events)."""
    half = {key: value / 2 for key, value in ASKED.items() if key != "requested"}
    return pd.DataFrame(
        [
            _row("devicerec", 0, 0, 2, 1, 0.5),
            _row("devicerec", 0, 1, 6, 1, 0.3),
            _row("devicerec", 1, 0, 2, 0, 0.0, **UNSERVED),
            _row("forward-ofa", 0, 0, 2, 2, 1.5, **ASKED),
            _row("forward-ofa", 0, 1, 6, 2, 1.0, **SHORT),
            _row("forward-ofa", 1, 0, 2, 1, 0.5, requested=True, **half),
        ]
    )


def test_the_summary_is_what_one_computes_by_hand(two_devices: pd.DataFrame) -> None:
    table = summarise(two_devices).set_index("method")

    base, ofa = table.loc["devicerec"], table.loc["forward-ofa"]
    assert list(summarise(two_devices).columns[:14]) == CONTRACT
    assert list(summarise(two_devices).columns) == names(SUMMARY)
    assert (base["devices"], base["sessions"], base["events"]) == (2, 3, 10)
    assert base["hit@10"] == pytest.approx(2 / 10)
    assert base["ndcg@10"] == pytest.approx(0.8 / 10)
    assert base["macs_m"] == pytest.approx(2)  # of the two device-sessions that ran it
    assert base["param_mbit"] == pytest.approx(4)
    assert base["blocks"] == pytest.approx(2)
    assert base["served"] == pytest.approx(2 / 3)
    assert base["requests_per_session"] == base["uplink_kbit"] == base["downlink_mbit"] == 0
    assert ofa["hit@10"] == pytest.approx(5 / 10)
    assert ofa["ndcg@10"] == pytest.approx(3.0 / 10)
    assert ofa["macs_m"] == pytest.approx((2 * 2 + 6 * 1 + 2 * 2) / 10)
    assert ofa["macs_paper_m"] == pytest.approx(2.5)
    assert ofa["macs_session_m"] == pytest.approx((9 + 4 + 9) / 3)
    assert ofa["param_mbit"] == pytest.approx((4 + 1 + 4) / 3)
    assert ofa["requests_per_session"] == pytest.approx(2 / 3)
    assert ofa["uplink_kbit"] == pytest.approx(3.0 / 3)
    assert ofa["downlink_mbit"] == pytest.approx(9.0 / 3)
    assert ofa["seconds_adapt"] == pytest.approx(0.9 / 3)
    assert ofa["joules"] == pytest.approx(4.5 / 3)
    assert ofa["blocks"] == pytest.approx(5 / 3)
    assert ofa["ndcg@10_delta"] == pytest.approx(0.22)
    assert math.isnan(base["ndcg@10_delta"])
    assert math.isnan(base["ndcg@10_sd"])


def test_the_bootstrap_of_two_devices_is_known_exactly(two_devices: pd.DataFrame) -> None:
    """Two devices give three draws: both device 0 (1/4), one each (1/2), both device 1 (1/4)."""
    ofa = summarise(two_devices).set_index("method").loc["forward-ofa"]

    assert ofa["ndcg@10_low"] == pytest.approx(0.5 / 2)
    assert ofa["ndcg@10_high"] == pytest.approx(2.5 / 8)
    assert ofa["ndcg@10_delta_low"] == pytest.approx((2.5 - 0.8) / 8)
    assert ofa["ndcg@10_delta_high"] == pytest.approx(0.25)


def test_each_seed_alone_is_compared_with_devicerec_of_the_same_seed(two_devices: pd.DataFrame) -> None:
    """Seed 1 has twice DeviceRec's quality and half of Forward-OFA's."""
    other = two_devices.assign(seed=1)
    base = other["method"] == "devicerec"
    other["ndcg"] *= base.map({True: 2.0, False: 0.5})
    table = by_seed(pd.concat([other, two_devices]), ["forward-ofa", "devicerec"])

    assert list(table.columns) == names(SEEDS)
    assert table[["method", "seed"]].to_numpy().tolist() == [
        *(["forward-ofa", 0], ["forward-ofa", 1]),
        *(["devicerec", 0], ["devicerec", 1]),
    ]
    assert table["ndcg@10"].tolist() == pytest.approx([0.30, 0.15, 0.08, 0.16])
    assert table["ndcg@10_delta"].tolist() == pytest.approx([0.22, -0.01, math.nan, math.nan], nan_ok=True)
    assert table["events"].tolist() == [10, 10, 10, 10]
    # of the draws that two devices have: both device 0, and both device 1
    assert table["ndcg@10_delta_low"][1] == pytest.approx((1.25 - 1.6) / 8)
    assert table["ndcg@10_delta_high"][1] == pytest.approx(0.25 / 2)


def test_every_method_is_compared_with_every_other(two_devices: pd.DataFrame) -> None:
    """Three methods: the third is DeviceRec with three times its quality, on one device more."""
    third = two_devices[two_devices["method"] == "devicerec"].assign(method="duet")
    third["ndcg"] *= 3.0
    third = pd.concat([third, third.iloc[:1].assign(device=7)])
    table = each_against_each(pd.concat([two_devices, third]), ["duet", "devicerec", "forward-ofa"])
    found = table.set_index(["method", "against"])

    assert list(table.columns) == names(PAIRS)
    assert len(found) == 6
    assert found["devices"].tolist() == [2] * 6
    assert found.loc[("duet", "forward-ofa"), "ndcg@10_against"] == pytest.approx(0.30)
    assert found.loc[("duet", "forward-ofa"), "ndcg@10_delta"] == pytest.approx(0.24 - 0.30)
    # of the draws that two devices have: both device 1, and both device 0
    assert found.loc[("duet", "forward-ofa"), "ndcg@10_delta_low"] == pytest.approx((0.0 - 0.5) / 2)
    assert found.loc[("duet", "forward-ofa"), "ndcg@10_delta_high"] == pytest.approx((2.4 - 2.5) / 8)
    for name, opposite in (("delta", "delta"), ("delta_low", "delta_high"), ("delta_high", "delta_low")):
        one, other = found.loc[("duet", "devicerec")], found.loc[("devicerec", "duet")]
        assert one[f"ndcg@10_{name}"] == pytest.approx(-other[f"ndcg@10_{opposite}"])
    as_in_summary = summarise(two_devices).set_index("method").loc["forward-ofa"]
    for name in ("ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high", "ndcg@10_p"):
        assert found.loc[("forward-ofa", "devicerec"), name] == pytest.approx(as_in_summary[name])


def test_the_order_is_the_one_given(two_devices: pd.DataFrame) -> None:
    assert summarise(two_devices, ["forward-ofa", "devicerec"])["method"].tolist() == [
        "forward-ofa",
        "devicerec",
    ]


def test_rows_in_another_order_give_the_same_summary() -> None:
    rows = plausible_rows(devices=30, seeds=(0, 1))
    shuffled = rows.sample(frac=1.0, random_state=3)
    order = ["devicerec", "finetune", "duet", "forward-ofa"]

    pd.testing.assert_frame_equal(summarise(rows, order), summarise(shuffled, order), rtol=1e-12)


def test_the_spread_over_seeds_is_that_of_the_seeds_own_results(two_devices: pd.DataFrame) -> None:
    better = two_devices.assign(seed=1, hits=two_devices["hits"] + 1, ndcg=two_devices["ndcg"] + 0.2)

    ofa = summarise(pd.concat([two_devices, better])).set_index("method").loc["forward-ofa"]

    assert ofa["seeds"] == 2
    assert ofa["ndcg@10"] == pytest.approx((3.0 + 3.6) / 20)
    assert ofa["ndcg@10_sd"] == pytest.approx(0.06 / math.sqrt(2))
    assert ofa["hit@10_sd"] == pytest.approx(0.3 / math.sqrt(2))


def test_without_the_baseline_there_are_no_differences(two_devices: pd.DataFrame) -> None:
    alone = summarise(two_devices[two_devices["method"] == "forward-ofa"])

    assert alone["ndcg@10_delta"].isna().all()
    assert alone["ndcg@10_low"].notna().all()


def test_one_device_has_no_interval(two_devices: pd.DataFrame) -> None:
    table = summarise(two_devices[two_devices["device"] == 0])

    assert table[["ndcg@10_low", "ndcg@10_high", "ndcg@10_delta_low", "ndcg@10_p"]].isna().all(axis=None)
    assert table["ndcg@10_delta"].iloc[1] == pytest.approx(1.7 / 8)


def test_the_bootstrap_agrees_with_a_plain_loop() -> None:
    draw = np.random.default_rng(5)
    events = draw.integers(1, 40, 200).astype(float)
    gain = events * draw.uniform(0.0, 0.2, 200)
    slow = []
    for _ in range(3000):
        picked = draw.integers(0, 200, 200)
        slow.append(gain[picked].sum() / events[picked].sum())

    fast = ratios(gain[:, None], events[:, None], 3000)[:, 0]

    assert fast.std() == pytest.approx(np.std(slow), rel=0.06)
    assert fast.mean() == pytest.approx(np.mean(slow), rel=0.005)


def test_chunks_of_draws_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    top, bottom = np.arange(20.0).reshape(10, 2), np.full((10, 2), 3.0)
    whole = ratios(top, bottom, 50)
    monkeypatch.setattr("analysis.stats._CELLS", 70)

    assert np.array_equal(ratios(top, bottom, 50), whole)


def test_a_difference_that_every_device_shows_is_certain_and_none_is_not() -> None:
    events = np.full(50, 10.0)
    gain = np.linspace(0.5, 1.5, 50)

    better = paired((gain, gain + 0.1), (events, events))
    same = paired((gain, gain), (events, events))

    assert better.delta == pytest.approx(0.01)
    assert (better.low, better.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert better.p == pytest.approx(2 * t.cdf(norm.ppf(1 / 2001) * math.sqrt(49 / 50), 49))
    assert (same.delta, same.p) == (0.0, 1.0)


def test_pairing_removes_what_devices_have_in_common() -> None:
    draw = np.random.default_rng(1)
    events, ease = np.full(300, 10.0), draw.uniform(0, 5, 300)
    a, b = ease + draw.normal(0, 0.1, 300), ease + 0.05 + draw.normal(0, 0.1, 300)

    found = paired((a, b), (events, events))

    alone = np.percentile(ratios(a[:, None], events[:, None]), [2.5, 97.5])
    assert found.p < 0.01
    assert found.high - found.low < 0.2 * (alone[1] - alone[0])


def test_p_value_counts_the_smaller_side_twice() -> None:
    assert p_value(np.array([1.0] * 96 + [-1.0] * 3), 10**9) == pytest.approx(2 * 4 / 100)


def _print(run: analysis.Run, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=False)
    console.begin_capture()
    console.print(terminal_table(run))
    return console.end_capture()


def test_the_terminal_table_fits_marks_the_best_and_names_the_protocol(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path, plausible_rows(devices=200)))

    text = _print(run, 80)

    lines = [line.strip() for line in text.splitlines()]
    best = run.summary.set_index("method")["ndcg@10"]
    assert "…" not in text
    assert f"{best['forward-ofa']:.4f}*" in next(line for line in lines if line.startswith("Forward-OFA"))
    relative = 100 * (best["duet"] / best["devicerec"] - 1)
    assert f"{relative:+.1f}" in next(line for line in lines if line.startswith("DUET"))
    words = " ".join(text.split())
    facts = [
        "MovieLens-1M",
        "last 20 %",
        "all 3,011 items",
        "cut-off 10",
        "context 10",
        "seed 0",
        "200 devices",
    ]
    for fact in [*facts, f"{len(run.sessions) // 4:,} device-sessions", "Every device-session was served"]:
        assert fact in words


def test_who_was_not_served_is_in_the_terminal_table(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path, plausible_rows(devices=50, tiers=True)))

    text = _print(run, 80)

    assert "served" in text.splitlines()[1]
    assert "Every device-session" not in text


def test_the_terminal_table_of_one_method_marks_nothing(tmp_path: Path) -> None:
    rows = plausible_rows(devices=20, methods=("forward-ofa",))
    run = analysis.load(write_run(tmp_path, rows, methods=("forward-ofa",)))

    assert "*" not in _print(run, 80).split("* best")[0]


def test_two_methods_of_different_runs_are_compared_device_by_device() -> None:
    def sums(method: str, ndcg: list[float]) -> pd.DataFrame:
        rows = {"method": method, "device": [0, 0, 1], "ndcg": ndcg, "hits": 0, "events": [2, 2, 4]}
        return of_method(device_sums(pd.DataFrame(rows)), method)

    # 3 and 1 of 8 events, against 1: each device gains 1 of 4; then device 0 loses 1/2 and device 1 gains 1/2.
    known = sums("known", [0.5, 0.5, 0.0])
    ahead, level = (compare_devices(known, sums("new", ndcg)) for ndcg in ([1.0, 1.0, 1.0], [0.5, 0.0, 0.5]))
    names = ("ndcg@10_delta", "ndcg@10_delta_low", "ndcg@10_delta_high")
    assert [ahead[name] for name in names] == [0.25, 0.25, 0.25]
    assert [level[name] for name in names] == [0.0, -0.125, 0.125]


MEASURES = ("hits_1", "hits_5", "hits_20", "ndcg_5", "ndcg_20", "mrr", "hits_sampled", "ndcg_sampled")


def _measured(frame: pd.DataFrame, values: list[tuple[float, ...]]) -> pd.DataFrame:
    return frame.assign(
        **{name: list(column) for name, column in zip(MEASURES, zip(*values, strict=True), strict=True)}
    )


def test_other_cut_offs_and_samples_are_sums_over_events_by_hand(two_devices: pd.DataFrame) -> None:
    base = two_devices[two_devices["method"] == "devicerec"]
    rows = _measured(
        base, [(0, 1, 2, 0.5, 0.7, 0.6, 2, 1.2), (0, 0, 3, 0, 0.9, 0.5, 5, 2.8), (1, 1, 1, 1, 1, 1.1, 2, 1.6)]
    )
    (found,) = summarise(rows).to_dict("records")
    expected = {
        **{"hit@1": 0.1, "hit@5": 0.2, "hit@20": 0.6, "ndcg@1": 0.1, "ndcg@5": 0.15, "ndcg@20": 0.26},
        **{"mrr": 0.22, "hit@10_sampled": 0.9, "ndcg@10_sampled": 0.56, "hit@10": 0.2, "ndcg@10": 0.08},
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_run_of_an_earlier_version_has_no_other_cut_offs(two_devices: pd.DataFrame) -> None:
    table = summarise(two_devices)
    assert table[["hit@1", "ndcg@20", "mrr", "hit@10_sampled", "coverage"]].isna().all().all()
    assert table["hit@10"].notna().all()


def test_the_largest_gap_of_a_tier_by_hand(two_devices: pd.DataFrame) -> None:
    """DeviceRec: 0.8 of 8 events on one device, 0 of 2 on the other; all: 0.08. The gaps are 0.02 and 0.08."""
    rows = two_devices.assign(tier=np.where(two_devices["device"] == 0, "phone", "watch"))
    table = summarise(rows).set_index("method")
    assert table.loc["devicerec", "mdac"] == pytest.approx(0.08 / 0.08)
    # Forward-OFA: 2.5 of 8 and 0.5 of 2; all: 0.3
    assert table.loc["forward-ofa", "mdac"] == pytest.approx((0.3 - 0.25) / 0.3)
    assert summarise(two_devices)["mdac"].isna().all()  # one tier
    assert math.isnan(mdac(rows.assign(ndcg=0.0)))


def test_coverage_is_the_mean_over_seeds_and_unknown_if_it_is_for_one(two_devices: pd.DataFrame) -> None:
    nan = float("nan")
    coverage = pd.DataFrame(
        [
            (0, "devicerec", 20.0, 80, 3e6),
            (1, "devicerec", 40.0, 80, 5e6),
            (0, "forward-ofa", 8.0, 80, nan),
            (1, "forward-ofa", nan, 80, nan),
        ],
        columns=["seed", "method", "recommended", "items", "bits_installed"],
    )
    found = summarise(two_devices, coverage=coverage).set_index("method")
    assert found.loc["devicerec", "coverage"] == pytest.approx((0.25 + 0.5) / 2)
    assert math.isnan(found.loc["forward-ofa", "coverage"])
    assert found.loc["devicerec", "installed_mbit"] == pytest.approx(4)
    assert math.isnan(found.loc["forward-ofa", "installed_mbit"])


def test_what_is_installed_anew_counts_for_every_version_of_a_device(two_devices: pd.DataFrame) -> None:
    rows = two_devices.assign(bits_installed=[2e6, 2e6, 2e6, 8e6, 0, 8e6])  # devices 0, 0, 1 of either method
    found = summarise(rows).set_index("method")["installed_mbit"]
    assert found["devicerec"] == pytest.approx((4 + 2) / 2)
    assert found["forward-ofa"] == pytest.approx(8)
    assert summarise(two_devices)["installed_mbit"].isna().all()


def test_what_is_installed_stands_in_the_terminal_where_it_is_known(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path / "unknown", plausible_rows(devices=20)))
    assert "inst." not in _print(run, 80)
    rows = plausible_rows(devices=20).assign(bits_installed=np.int64(25_000_000))
    text = _print(analysis.load(write_run(tmp_path / "known", rows)), 80)
    assert "inst." in text.splitlines()[1]
    assert text.count("100") >= 4  # four sessions of 25 Mbit each
    assert all(len(line) <= 80 for line in text.splitlines())
