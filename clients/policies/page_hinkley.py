"""Ask when the Page-Hinkley test finds that the device's own losses have risen (Page 1954; from river)."""

import math

from river.drift import PageHinkley as Test

from clients.policies.base import Observation, Policy


class PageHinkley(Policy):
    """The parameter is the test's threshold, in summed losses above their running mean."""

    name = "page-hinkley"
    default = 2.0
    bounds = (0.0, math.inf)
    rising = False
    needs = frozenset({"losses"})

    def asks(self, now: Observation) -> bool:
        test = Test(min_instances=5, delta=0.005, threshold=self.parameter, mode="up")
        for loss in now.losses.tolist():
            test.update(loss)
            if test.drift_detected:
                return True
        return False
