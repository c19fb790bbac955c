"""Costs add up: two halves of a device-session cost what the whole does, and nothing is free that has a price."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.world.costs import Counts, cost, request_seconds, waits
from sim.world.scenario import Cloud, Scenario, Tier
from tests.support.properties import FEW

NAMES = [field.name for field in fields(Counts)]
counted = st.integers(0, 10**9)
counts = st.builds(Counts, **dict.fromkeys(NAMES, counted))
price = st.floats(0.1, 1000)
tiers = st.builds(
    Tier,
    name=st.just("one"),
    share=st.just(1.0),
    gflops=price,
    efficiency=st.floats(0.01, 1),
    memory_mbyte=price,
    downlink_mbit_s=price,
    uplink_mbit_s=price,
    picojoule_per_mac=price,
    nanojoule_per_bit_down=price,
    nanojoule_per_bit_up=price,
    tail_watts=price,
    tail_seconds=price,
    assembly_mbyte_s=st.one_of(st.none(), price),
)
factors = st.floats(0.1, 1)


def scenario(tier: Tier, gflops: float = 100.0) -> Scenario:
    return Scenario("one", "", Cloud(gflops), (tier,))


def added(first: Counts, second: Counts) -> Counts:
    """Both, one after the other, with networks of the same size."""
    total = {name: getattr(first, name) + getattr(second, name) for name in NAMES}
    return Counts(**total | {"macs": first.macs})


@FEW
@given(first=counts, second=counts, tier=tiers, factor=factors, queue=st.floats(0, 10))
def test_the_parts_of_a_session_cost_what_the_whole_does(
    first: Counts, second: Counts, tier: Tier, factor: float, queue: float
) -> None:
    second = replace(second, macs=first.macs)
    parts = [cost(one, tier, scenario(tier), factor) for one in (first, second)]
    whole = cost(added(first, second), tier, scenario(tier), factor, queue)
    assert whole.seconds_adapt == pytest.approx(sum(part.seconds_adapt for part in parts) + queue)
    tails = [tier.tail_joules * (one.bits_up + one.bits_down > 0) for one in (first, second)]
    assert whole.joules == pytest.approx(sum(part.joules for part in parts) - sum(tails) + max(tails))
    assert whole.seconds_inference == parts[0].seconds_inference


@FEW
@given(
    tier=tiers,
    factor=factors,
    name=st.sampled_from([field.name for field in fields(Counts)]),
    more=counted | st.integers(0, 1),
)
def test_each_count_costs_what_it_costs_by_itself(tier: Tier, factor: float, name: str, more: int) -> None:
    """By the definitions: two operations a multiply-accumulate, at what the device has today; megabits; megabytes."""
    nothing = Counts(**dict.fromkeys(NAMES, 0))
    found = cost(replace(nothing, **{name: more}), tier, scenario(tier), factor)
    flops = tier.gflops * 1e9 * tier.efficiency * factor
    seconds = {
        "macs_request": 2 * more / flops,
        "macs_adapt": 2 * more / flops,
        "macs_cloud": 2 * more / 100e9,
        "bits_up": more / (tier.uplink_mbit_s * 1e6),
        "bits_down": more / (tier.downlink_mbit_s * 1e6)
        + (0.0 if tier.assembly_mbyte_s is None else more / 8 / 1e6 / tier.assembly_mbyte_s),
    }
    tail = tier.tail_watts * tier.tail_seconds * (more > 0)
    joules = {
        "macs_request": more * tier.picojoule_per_mac / 1e12,
        "macs_adapt": more * tier.picojoule_per_mac / 1e12,
        "bits_up": more * tier.nanojoule_per_bit_up / 1e9 + tail,
        "bits_down": more * tier.nanojoule_per_bit_down / 1e9 + tail,
    }
    assert found.seconds_adapt == pytest.approx(seconds.get(name, 0.0))
    assert found.joules == pytest.approx(joules.get(name, 0.0))
    assert found.seconds_inference == pytest.approx(2 * more / flops if name == "macs" else 0.0)


@FEW
@given(macs=counted, bits=counted, tier=tiers, factor=factors)
def test_a_request_arrives_before_the_device_has_its_network(macs: int, bits: int, tier: Tier, factor: float) -> None:
    nothing = dict.fromkeys(NAMES, 0)
    whole = cost(Counts(**nothing | {"macs_request": macs, "bits_up": bits}), tier, scenario(tier), factor)
    assert request_seconds(macs, bits, tier, factor) == pytest.approx(whole.seconds_adapt)
    assert request_seconds(macs, bits, tier, 1.0) <= request_seconds(macs, bits, tier, factor)
    assert request_seconds(macs, bits, tier) == request_seconds(macs, bits, tier, 1.0)  # an idle device


@FEW
@given(bursts=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 30)), min_size=1, max_size=4))
def test_requests_are_served_one_after_the_other_and_those_that_come_at_once_in_their_order(
    bursts: list[tuple[int, int]],
) -> None:
    """Against a queue played event by event. Bursts are long enough for a sort that is not stable to show."""
    arrivals = [float(moment) for moment, requests in bursts for _ in range(requests)]
    free, expected = 0.0, {}
    for moment, row in sorted((moment, row) for row, moment in enumerate(arrivals)):
        expected[row] = max(free, moment) - moment
        free = max(free, moment) + 0.25
    assert waits(np.array(arrivals), 0.25).tolist() == [expected[row] for row in range(len(arrivals))]
