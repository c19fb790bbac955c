"""Ask at random: what a policy has to beat at the same number of requests."""

from clients.policies.base import Observation, Policy


class Random(Policy):
    """The parameter is the probability to ask before a session."""

    name = "random"
    default = 0.2

    def asks(self, now: Observation) -> bool:
        return now.draw < self.parameter

    @classmethod
    def for_rate(cls, rate: float) -> float | None:
        return rate
