"""A device's first month by hand: which sessions belong to it, what was installed, and what receiving it takes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sim.data.interactions import Interactions
from sim.first_month import first_month
from sim.world.fleet import Fleet
from sim.world.scenario import Cloud, Scenario, Tier
from sim.world.streams import build_streams

DAY = 86_400
NEAR = Tier(
    name="near", share=0.5, gflops=1.0, efficiency=1.0, memory_mbyte=1.0, downlink_mbit_s=1.0, uplink_mbit_s=1.0,
    picojoule_per_mac=1.0, nanojoule_per_bit_down=100.0, nanojoule_per_bit_up=500.0,
)  # fmt: skip
FAR = replace(NEAR, name="far", nanojoule_per_bit_down=300.0, tail_watts=1.0, tail_seconds=2.0)


def fleet() -> Fleet:
    """Device 0 has four sessions, on days 0, 29, 30 and 40 of its live stream; device 1 one, which begins elsewhen."""
    live = np.array([0, 29, 30, 40])
    times = np.concatenate([np.arange(16), 1000 + DAY * live, 5000 * DAY + np.arange(5)])
    interactions = Interactions(
        name="two",
        offsets=np.array([0, 20, 25]),
        items=np.ones(25, dtype=np.int32),
        times=times,
        user_ids=["a", "b"],
        item_ids=["", "x"],
        item_titles=["", "x"],
        genre_names=[],
        genres=np.zeros((2, 0), dtype=bool),
        change_points=np.array([-1, -1]),
    )
    found = Fleet(build_streams(interactions, [0, 1]), Scenario("two", "", Cloud(gflops=1.0), (NEAR, FAR)), seed=0)
    found.tiers = np.array([0, 1])
    return found


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "device": [0, 1, 0, 0, 0],
            "session": [0, 0, 1, 2, 3],
            "bits_up": [1, 1, 1, 1, 1],
            "bits_down": [100, 200, 1000, 50_000, 50_000],
            "joules": [0.5, 0.25, 1.0, 64.0, 64.0],
        }
    )


def test_the_sessions_of_thirty_days_and_what_is_installed_by_hand() -> None:
    found = first_month(rows(), fleet(), installed=10_000_000)
    assert found.sessions == 1.5  # days 0 and 29 of device 0, the one session of device 1
    assert found.bits == pytest.approx((2 * 10_000_000 + 101 + 1001 + 201) / 2)
    # 10 Mbit take 1 J at 100 nJ a bit and 3 J at 300, and the far device's radio a tail of 2 J.
    assert found.joules == pytest.approx((0.5 + 1.0 + 1.0 + 0.25 + 3.0 + 2.0) / 2)


def test_what_is_installed_anew_in_the_month_counts_again() -> None:
    versions = rows().assign(bits_installed=[4_000_000, 4_000_000, 6_000_000, 6_000_000, 0])
    found = first_month(versions, fleet(), installed=10_000_000)
    assert found.bits == pytest.approx((4_000_000 + 6_000_000 + 4_000_000 + 101 + 1001 + 201) / 2)
    assert found.joules == pytest.approx((0.5 + 1.0 + 0.4 + 0.6 + 0.25 + 1.2 + 2.0) / 2)
