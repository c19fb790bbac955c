"""Ask once, before the first session, and keep that network for good."""

from clients.policies.base import Observation, Policy


class Never(Policy):
    """The fewest requests there can be: without any, there would be no network."""

    name = "never"

    def asks(self, now: Observation) -> bool:
        return False
