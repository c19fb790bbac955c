"""Ask in every k-th session."""

import math

from clients.policies.base import Observation, Policy


class Every(Policy):
    """The parameter is k, a whole number: 1 is always."""

    name = "every"
    default = 5.0
    bounds = (1.0, math.inf)
    whole = True

    def asks(self, now: Observation) -> bool:
        return now.since >= self.parameter

    @classmethod
    def for_rate(cls, rate: float) -> float | None:
        return float(math.ceil(1 / rate - 1e-9))  # never more often than the budget allows
