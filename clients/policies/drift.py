"""Ask when the latent interest has moved away from the one that was last sent."""

import numpy as np

from clients.policies.base import Observation, Policy


class Drift(Policy):
    """The parameter is a cosine distance, from 0 (same direction) to 2 (opposite)."""

    name = "drift"
    default = 0.3
    bounds = (0.0, 2.0)
    rising = False
    needs = frozenset({"interest"})

    def asks(self, now: Observation) -> bool:
        return cosine_distance(now.interest, now.sent) > self.parameter


def cosine_distance(first: np.ndarray, second: np.ndarray) -> float:
    """One minus the cosine of two vectors ``(64,)``; 0 if one of them is zero, which has no direction."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 - float(a @ b) / lengths if lengths > 0 else 0.0
