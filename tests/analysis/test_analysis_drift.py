"""Measures around a change, by hand: they move when a change point or a session is off by one."""

import numpy as np
import pandas as pd
import pytest

from analysis.drift import around, asking, detection, recovery, revenue, sessions_from_change, two_ends

pytestmark = pytest.mark.usefixtures("two_are_enough")

PHASES = ["before", "before", "before", "during", "after", "after", "after"]
NDCG = [0.5, 0.5, 0.5, 0.2, 0.3, 0.44, 0.46]


def device(number: int, adapted: list[int], phases: list[str] = PHASES, **columns: list[float]) -> pd.DataFrame:
    sessions = len(phases)
    return pd.DataFrame(
        {
            "seed": 0,
            "device": number,
            "method": "duet",
            "session": np.arange(sessions),
            "events": 10,
            "ndcg": 10 * np.array(NDCG[:sessions]),
            "adapted": [session in adapted for session in range(sessions)],
            "bits_up": [1e6 * (session in adapted) for session in range(sessions)],
            "bits_down": 0,
            "seconds_adapt": [0.7 * (session in adapted) for session in range(sessions)],
            "hits": 0,
            "phase": phases,
            **columns,
        }
    )


def rows(*devices: pd.DataFrame) -> pd.DataFrame:
    frame = pd.concat(devices, ignore_index=True)
    return frame.assign(distance=sessions_from_change(frame))


def test_delay_counts_from_the_session_of_the_change() -> None:
    found = detection(rows(device(0, [0, 3, 5]), device(1, [0, 4]), device(2, [0])))
    assert found["delay"] == pytest.approx((2 + 1) / 2)
    assert found["noticed"] == pytest.approx(2 / 3)
    # Calm sessions are 1, 2 and 3 of each device: in session 3 nobody can know of the change yet.
    assert found["false_alarms"] == pytest.approx(1 / 9)


def test_a_stationary_device_has_false_alarms_only() -> None:
    found = detection(rows(device(0, [0, 2, 3], ["stationary"] * 5)))
    assert np.isnan(found["delay"])
    assert np.isnan(found["noticed"])
    assert found["false_alarms"] == pytest.approx(2 / 4)


def test_recovery_is_the_first_session_at_nine_tenths_of_the_level_before() -> None:
    assert recovery(rows(device(0, [0]), device(1, [0])))["recovery"] == 3  # 0.46 >= 0.45, and 0.44 is not
    faster = device(1, [0], ndcg=[10 * x for x in (0.5, 0.5, 0.5, 0.2, 0.3, 0.5, 0.46)])
    found = recovery(rows(device(0, [0]), faster))
    ends = [found[f"second{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0.47 / 0.5, 0.44 / 0.5, 0.5 / 0.5])  # alone, the devices have 0.44 and 0.5 there
    assert "second" not in recovery(rows(device(0, [0], PHASES[:5], ndcg=[5, 5, 5, 2, 3])))
    lower = [0.5, 0.5, 0.5, 0.2, 0.3, 0.45, 0.1]
    assert recovery(rows(device(0, [0], ndcg=[10 * x for x in lower])))["recovery"] == 2
    never = recovery(rows(device(0, [0], ndcg=[5, 5, 5, 1, 1, 1, 1]), device(1, [0], ndcg=[5, 5, 5, 2, 1, 1, 1])))
    assert np.isnan(never["recovery"])
    assert never["unrecovered"] == 1


def test_each_end_of_a_change_is_of_the_same_devices() -> None:
    """Two devices whose quality never changes, one with the better taste; only the other one plays on after it."""
    short = device(0, [], ["before", "during"], ndcg=[8.0, 8.0])
    late = device(1, [], ["during", "after", "after", "after"], ndcg=[9.0] * 4)
    long = device(2, [], ndcg=[2.0] * 7)
    frame = pd.concat([short, late, long], ignore_index=True)
    one = around(frame, ["duet"]).iloc[0]
    assert (one["devices"], one["both"]) == (2, 1)
    assert one[["before", "during", "kept"]].tolist() == pytest.approx([0.2, 0.2, 1.0])
    assert one["after"] == pytest.approx((3 * 0.9 + 3 * 0.2) / 6)  # of both that play after it
    found = recovery(rows(short, late, long))
    assert (found["recovery"], found["second"]) == (0, pytest.approx(1.0))
    table, devices = two_ends(frame, frame["session"], 0, 3)
    assert devices == 2  # the second and the third have both sessions
    assert table.loc["duet"].tolist() == pytest.approx([(9 + 2) / 20, (9 + 2) / 20, 0])


def test_what_never_was_cannot_be_back() -> None:
    nothing = [device(d, [0], ndcg=[0.0] * 3 + [0.0, 1.0, 2.0, 3.0]) for d in (0, 1)]
    assert recovery(rows(*nothing)) == {}


def test_revenue_is_the_share_of_the_gain_that_was_asked_for() -> None:
    stale, fresh = [1.0] * 7, [9.0, 1.0, 1.0, 1.0, 4.0, 2.0, 1.0]  # gains of 3 and 1; the first session has none
    frame = rows(device(0, [0, 4], ndcg_stale=stale, ndcg_fresh=fresh))
    assert revenue(frame)["captured"] == pytest.approx(3 / 4)
    assert revenue(frame)["gain_all"] == pytest.approx(4 / 60)
    off_by_one = rows(device(0, [0, 5], ndcg_stale=stale, ndcg_fresh=fresh))
    assert revenue(off_by_one)["captured"] == pytest.approx(1 / 4)
    assert revenue(rows(device(0, [0]))) == {}


def test_one_row_a_method_that_adapts() -> None:
    static = device(0, []).assign(method="devicerec")
    frame = asking(pd.concat([static, device(0, [0, 1, 4])], ignore_index=True), ["devicerec", "duet"])
    assert frame["method"].tolist() == ["duet"]
    one = frame.iloc[0]
    assert one["rate"] == pytest.approx(2 / 6)
    assert one["mbit"] == pytest.approx(3 / 7)
    assert one["seconds"] == pytest.approx(0.3)


def test_around_the_change_every_method_stands_beside_devicerec_on_the_devices_that_change() -> None:
    calm = device(9, [], ["stationary"] * 7, ndcg=[9.0] * 7)
    base = [device(d, [], ndcg=[5, 5, 5, 2, 1, 1, 1 + d]) for d in (0, 1)]
    mine = [device(d, [0, 4]) for d in (0, 1)]
    both = [part.assign(method="devicerec") for part in (calm, *base)] + [calm, *mine]
    frame = around(pd.concat(both, ignore_index=True), ["devicerec", "duet"]).set_index("method")
    one = frame.loc["duet"]
    assert one["devices"] == 2
    assert one["before"] == pytest.approx(0.5)
    assert one["during"] == pytest.approx(0.2)
    assert one["after"] == pytest.approx((0.3 + 0.44 + 0.46) / 3)
    assert frame.loc["devicerec", "after"] == pytest.approx((0.1 + 0.1 + 0.15) / 3)
    assert one["after_delta"] == pytest.approx((0.3 + 0.44 + 0.46 - 0.35) / 3)
    # The two devices' own differences are the ends of what a draw can give.
    assert one["after_delta_low"] == pytest.approx((1.2 - 0.4) / 3)
    assert one["after_delta_high"] == pytest.approx((1.2 - 0.3) / 3)
    assert np.isnan(frame.loc["devicerec", "after_delta"])
    relative = [one[f"after_relative{end}"] * 0.35 / 3 for end in ("", "_low", "_high")]
    assert relative == pytest.approx([one[f"after_delta{end}"] for end in ("", "_low", "_high")])
    assert around(calm, ["duet"]).empty


def test_a_share_of_a_gain_that_may_be_none_has_no_interval() -> None:
    sure = [device(d, [0, 4], ndcg_stale=[1.0] * 7, ndcg_fresh=[1, 1, 1, 1, 2 + d, 2, 1]) for d in (0, 1)]
    found = revenue(rows(*sure))
    assert found["captured"] == pytest.approx(3 / 5)
    # Devices alone: 1 of 2 and 2 of 3.
    assert (found["captured_low"], found["captured_high"]) == (pytest.approx(1 / 2), pytest.approx(2 / 3))
    assert (found["gain_low"], found["gain_high"]) == (pytest.approx(2 / 60), pytest.approx(3 / 60))
    lost = device(1, [0, 4], ndcg_stale=[2.0] * 7, ndcg_fresh=[2, 2, 2, 2, 1, 1, 2])
    doubtful = revenue(rows(device(0, [0, 4], ndcg_stale=[1.0] * 7, ndcg_fresh=[1, 1, 1, 1, 3, 2, 1]), lost))
    assert doubtful["captured"] == pytest.approx(1 / 1)
    assert "captured_low" not in doubtful
