"""The simulated devices themselves: of which kind each is, and how it fares in each of its sessions."""

import numpy as np

from sim.scenario import Scenario, Tier
from sim.streams import Streams
from strategies.base import Seat


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

    def index(self, seat: Seat) -> int:
        """Of a device-session among all sessions of the streams."""
        return int(self.streams.session_offsets[seat.device]) + seat.session

    def tier(self, seat: Seat) -> Tier:
        """The kind of a device."""
        return self.scenario.tiers[self.tiers[seat.device]]

    def factor(self, seat: Seat) -> float:
        """The share of its effective compute that a device has in a session."""
        return float(self.factors[self.index(seat)])
