"""Ask when a mis-recommendation detector doubts the network the device has (IntellectReq, Lv et al. 2024).

The detector is trained in the cloud and installed on the device (:mod:`models.misrecommendation`).
"""

from clients.policies.base import Observation, Policy


class Mrd(Policy):
    """The parameter is the probability of a wrong recommendation above which the device asks."""

    name = "mrd"
    default = 0.5
    rising = False
    needs = frozenset({"interest", "doubt"})

    def asks(self, now: Observation) -> bool:
        return now.doubt > self.parameter
