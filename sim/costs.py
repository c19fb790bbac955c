"""From counts to seconds and joules: what a device-session cost, by the device's own profile."""

from dataclasses import dataclass

from sim.scenario import Scenario, Tier

FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class Counts:
    """What happened in one device-session, counted."""

    events: int
    macs: int
    """Multiply-accumulates of one inference."""
    macs_request: int
    """Of the extractors, once a request."""
    macs_adapt: int
    """Of training on the device."""
    macs_cloud: int
    """Of the mapper in the cloud."""
    bits_up: int
    bits_down: int


@dataclass(frozen=True)
class Cost:
    """What it took."""

    seconds_adapt: float
    """From the start of the session until the device has its network."""
    seconds_inference: float
    """One prediction."""
    joules: float
    """The device's energy over the session: computing and radio."""


def cost(counts: Counts, tier: Tier, scenario: Scenario, factor: float = 1.0) -> Cost:
    """A virtual clock: extractors, uplink, the cloud's forward pass, downlink, local training.

    ``factor`` is the share of its compute that the device has today.
    """
    flops = tier.flops * factor
    adapt = (
        FLOPS_PER_MAC * (counts.macs_request + counts.macs_adapt) / flops
        + counts.bits_up / (tier.uplink_mbit_s * 1e6)
        + FLOPS_PER_MAC * counts.macs_cloud / (scenario.cloud.gflops * 1e9)
        + counts.bits_down / (tier.downlink_mbit_s * 1e6)
    )
    computed = counts.events * counts.macs + counts.macs_request + counts.macs_adapt
    joules = (
        computed * tier.picojoule_per_mac * 1e-12
        + counts.bits_down * tier.nanojoule_per_bit_down * 1e-9
        + counts.bits_up * tier.nanojoule_per_bit_up * 1e-9
        + (tier.tail_joules if counts.bits_up + counts.bits_down > 0 else 0.0)
    )
    return Cost(adapt, FLOPS_PER_MAC * counts.macs / flops, joules)
