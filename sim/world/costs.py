"""Counts become seconds and joules: what a device-session costs, by the device's own profile.

A virtual clock: nothing sleeps. The cloud is a queue that serves first who comes first.
"""

from dataclasses import dataclass

import numpy as np

from sim.world.scenario import Scenario, Tier

FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class Counts:
    """What happened in one device-session, counted."""

    events: int
    macs: int
    """Multiply-accumulates of one inference."""
    macs_request: int
    """Multiply-accumulates of the extractors, once a request."""
    macs_adapt: int
    """Multiply-accumulates of training on the device."""
    macs_cloud: int
    """Multiply-accumulates of the mapper in the cloud."""
    bits_up: int
    bits_down: int

    @property
    def macs_device(self) -> int:
        """All that the device multiplied: predictions, extractors, training."""
        return self.events * self.macs + self.macs_request + self.macs_adapt


@dataclass(frozen=True)
class Cost:
    """What one device-session took."""

    seconds_adapt: float
    """Seconds from the start of the session until the device has its network."""
    seconds_inference: float
    """Seconds of one prediction."""
    joules: float
    """The device's energy over the session: computing and radio."""


def request_seconds(macs: int, bits_up: int, tier: Tier, factor: float = 1.0) -> float:
    """Seconds from the start of a session until the cloud has the request: extractors, then the uplink."""
    return FLOPS_PER_MAC * macs / (tier.flops * factor) + bits_up / (tier.uplink_mbit_s * 1e6)


def waits(arrivals: np.ndarray, service: float) -> np.ndarray:
    """How long each request waits, ``(N,)`` seconds, in a queue that takes ``service`` seconds for one.

    First come, first served; of those that come at once, the first in ``arrivals``.
    """
    out, free = np.zeros(len(arrivals)), -np.inf
    for row in np.argsort(arrivals, kind="stable").tolist():
        begin = max(float(arrivals[row]), free)
        out[row], free = begin - arrivals[row], begin + service
    return out


def cost(counts: Counts, tier: Tier, scenario: Scenario, factor: float = 1.0, queue: float = 0.0) -> Cost:
    """Add up extractors, uplink, waiting and service, the cloud's forward pass, downlink, assembly, local training.

    ``factor`` is the share of its compute that the device has today, ``queue`` the seconds of waiting and service.
    """
    flops = tier.flops * factor
    assembly = 0.0 if tier.assembly_mbyte_s is None else counts.bits_down / (tier.assembly_mbyte_s * 8e6)
    adapt = (
        FLOPS_PER_MAC * counts.macs_adapt / flops
        + request_seconds(counts.macs_request, counts.bits_up, tier, factor)
        + queue
        + assembly
        + FLOPS_PER_MAC * counts.macs_cloud / (scenario.cloud.gflops * 1e9)
        + counts.bits_down / (tier.downlink_mbit_s * 1e6)
    )
    joules = (
        counts.macs_device * tier.picojoule_per_mac * 1e-12
        + counts.bits_down * tier.nanojoule_per_bit_down * 1e-9
        + counts.bits_up * tier.nanojoule_per_bit_up * 1e-9
        + (tier.tail_joules if counts.bits_up + counts.bits_down > 0 else 0.0)
    )
    return Cost(adapt, FLOPS_PER_MAC * counts.macs / flops, joules)
