"""The simulated devices themselves: of which kind each is, and how it fares in each of its sessions."""

import math
from functools import lru_cache
from typing import cast

import numpy as np

from clients.budget import Budget
from sim.world.availability import uniform
from sim.world.costs import FLOPS_PER_MAC, request_seconds
from sim.world.scenario import Scenario, Tier
from sim.world.streams import Streams
from strategies.wave import DeviceSession, Status


class Fleet:
    """The devices of a run in their scenario. ``seed`` is the run's first: all methods and trainings meet the same
    devices in the same state."""

    def __init__(self, streams: Streams, scenario: Scenario, seed: int) -> None:
        self.streams, self.scenario, self.seed = streams, scenario, seed
        self.tiers = scenario.assign(streams.num_devices, seed)
        counts = np.diff(streams.session_offsets).tolist()
        chain = scenario.availability
        self.factors = (
            np.ones(streams.num_sessions)
            if chain is None
            else np.concatenate([chain.factors(device, count, seed) for device, count in enumerate(counts)])
        )
        self.events = streams.session_ends - streams.session_starts
        self.longest = int(self.events.max())
        self._budget = lru_cache(maxsize=4096)(self._of_tier)

    def index(self, device_session: DeviceSession) -> int:
        """The index of a device-session among all sessions of the streams."""
        return int(self.streams.session_offsets[device_session.device]) + device_session.session

    def tier(self, device_session: DeviceSession) -> Tier:
        """The kind of a device."""
        return self.scenario.tiers[self.tiers[device_session.device]]

    def factor(self, device_session: DeviceSession) -> float:
        """The share of its effective compute that a device has in a session."""
        return float(self.factors[self.index(device_session)])

    def failure(self, device_session: DeviceSession) -> Status:
        """What the scenario lets happen to a device in a session; what it asks for is late only if it asks."""
        failures = self.scenario.failures
        if failures.dropout == failures.late == failures.vanish == 0:
            return "ok"
        draw = uniform(self.seed, "failure", device_session.device, device_session.session)
        for status, likely in (("dropped", failures.dropout), ("late", failures.late), ("vanished", failures.vanish)):
            if draw < likely:
                return cast(Status, status)
            draw -= likely
        return "ok"

    def misses_deadline(self, device_session: DeviceSession, macs: int, bits_up: int) -> bool:
        """Whether a request takes too long to arrive."""
        deadline = self.scenario.failures.deadline_seconds
        return (
            deadline is not None
            and request_seconds(macs, bits_up, self.tier(device_session), self.factor(device_session)) > deadline
        )

    def arrival(self, device_session: DeviceSession, macs: int, bits_up: int) -> float:
        """When a request reaches the cloud, in seconds since the round began."""
        begins = self.scenario.cloud.spread_seconds * uniform(
            self.seed, "start", device_session.device, device_session.session
        )
        return begins + request_seconds(macs, bits_up, self.tier(device_session), self.factor(device_session))

    def budget(self, device_session: DeviceSession) -> Budget:
        """What a device can afford in a session: its ceilings in its own counts, and its energy costs."""
        return self._budget(int(self.tiers[device_session.device]), self.factor(device_session))

    def _of_tier(self, number: int, factor: float) -> Budget:
        """Of a device of a tier that has this share of its effective compute."""
        tier = self.scenario.tiers[number]
        limits = self.scenario.limits(tier)
        memory = min(tier.memory_mbyte, limits.model_mbyte or math.inf)
        seconds = math.inf if limits.latency_ms is None else limits.latency_ms / 1e3
        rate = tier.flops * factor / FLOPS_PER_MAC
        return Budget(
            macs=seconds * rate,
            model_bits=memory * 8e6,
            update_bits=math.inf if limits.update_mbit is None else limits.update_mbit * 1e6,
            joules=math.inf if limits.session_joules is None else limits.session_joules,
            predictions=self.longest,
            seconds_per_mac=1 / rate,
            joules_per_mac=tier.picojoule_per_mac * 1e-12,
            joules_per_bit_down=tier.nanojoule_per_bit_down * 1e-9,
            joules_per_bit_up=tier.nanojoule_per_bit_up * 1e-9,
            joules_tail=tier.tail_joules,
            bits=tier.bits,
        )
