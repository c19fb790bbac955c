"""Ask after a change of interest, and only then: for comparison, since no real device knows its change points."""

import math

from clients.policies.base import Observation, Policy


class Oracle(Policy):
    """The parameter is in how many sessions the device asks after each change, as its recent items come to show the new
    interest; during a gradual change it always asks."""

    name = "oracle"
    default = 3.0
    bounds = (1.0, math.inf)
    whole = True

    def asks(self, now: Observation) -> bool:
        return 0 <= now.switch < self.parameter
