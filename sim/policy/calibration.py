"""Find the threshold of a policy that meets a budget of requests in a backtest (:mod:`sim.policy.backtest`)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clients.policies import Observation, Policy

STEPS = 24
"""Steps of the bisection."""
LARGEST = 64.0
"""Where the search for a threshold without an upper bound begins."""


@dataclass(frozen=True)
class Trial:
    """The trial sessions of one device, n of them; with the first it gets its network."""

    interests: np.ndarray
    """``(n, 64)``: the latent interest at the beginning of each."""
    losses: list[np.ndarray]
    """Losses of the events of each, with the first network; empty for a policy that does not read them."""
    doubt: Callable[[np.ndarray, np.ndarray], float] = lambda stale, fresh: 0.0

    @property
    def chances(self) -> int:
        """Sessions in which the policy decides: all but the first."""
        return len(self.interests) - 1

    def requests(self, policy: Policy) -> int:
        """How often the device asks."""
        asked, adapted = 0, 0
        for session in range(1, len(self.interests)):
            stale, fresh = self.interests[adapted], self.interests[session]
            now = Observation(
                since=session - adapted,
                interest=fresh,
                sent=stale,
                losses=np.concatenate(self.losses[adapted:session]) if self.losses else np.zeros(0),
                draw=0.0,
                switch=-1,
                doubt=self.doubt(stale, fresh) if "doubt" in policy.needs else 0.0,
            )
            if policy.asks(now):
                asked, adapted = asked + 1, session
        return asked


def request_rate(policy: Policy, trials: list[Trial]) -> float:
    """Requests over the sessions after each device's first; 0 where there are none."""
    chances = sum(trial.chances for trial in trials)
    return sum(trial.requests(policy) for trial in trials) / chances if chances else 0.0


def calibrate(kind: type[Policy], rate: float, trials: list[Trial]) -> float:
    """The parameter that asks as often as possible in the trials, but in no more than this share of the sessions.

    Nothing but the order of the thresholds is assumed; where even the loosest stays within the budget, it is taken.
    """
    if kind.rising is None:
        raise ValueError(f"the policy '{kind.name}' has no threshold")
    low, high = kind.bounds[0], min(kind.bounds[1], LARGEST)
    strict, loose = (low, high) if kind.rising else (high, low)
    if request_rate(kind(loose), trials) <= rate:
        return loose
    for _ in range(STEPS):
        middle = math.sqrt(strict * loose) if low > 0 else (strict + loose) / 2
        if request_rate(kind(middle), trials) <= rate:
            strict = middle
        else:
            loose = middle
    return strict
