"""Measures around a change, by hand: they move when a change point or a session is off by one."""

import numpy as np
import pandas as pd
import pytest

from analysis.drift import asking, detection, recovery, revenue
from analysis.figures.change_point import sessions_from_change

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
    lower = [0.5, 0.5, 0.5, 0.2, 0.3, 0.45, 0.1]
    assert recovery(rows(device(0, [0], ndcg=[10 * x for x in lower])))["recovery"] == 2
    never = recovery(rows(device(0, [0], ndcg=[5, 5, 5, 1, 1, 1, 1]), device(1, [0], ndcg=[5, 5, 5, 2, 1, 1, 1])))
    assert np.isnan(never["recovery"])
    assert never["unrecovered"] == 1


def test_revenue_is_the_share_of_the_gain_that_was_asked_for() -> None:
    stale, fresh = [1.0] * 7, [9.0, 1.0, 1.0, 1.0, 4.0, 2.0, 1.0]  # gains of 3 and 1; the first session has none
    frame = rows(device(0, [0, 4], ndcg_stale=stale, ndcg_fresh=fresh))
    assert revenue(frame)["captured"] == pytest.approx(3 / 4)
    assert revenue(frame)["gain_all"] == pytest.approx(4 / 60)
    off_by_one = rows(device(0, [0, 5], ndcg_stale=stale, ndcg_fresh=fresh))
    assert revenue(off_by_one)["captured"] == pytest.approx(1 / 4)
    assert np.isnan(revenue(rows(device(0, [0])))["captured"])


def test_one_row_a_method_that_adapts() -> None:
    static = device(0, []).assign(method="devicerec")
    frame = asking(pd.concat([static, device(0, [0, 1, 4])], ignore_index=True), ["devicerec", "duet"])
    assert frame["method"].tolist() == ["duet"]
    one = frame.iloc[0]
    assert one["rate"] == pytest.approx(2 / 6)
    assert one["mbit"] == pytest.approx(3 / 7)
    assert one["before"] == pytest.approx(0.5)
    assert one["during"] == pytest.approx(0.2)
    assert one["after"] == pytest.approx((0.3 + 0.44 + 0.46) / 3)
