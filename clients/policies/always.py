"""Ask before every session, as the paper's devices do."""

from clients.policies.base import Observation, Policy


class Always(Policy):
    """The most requests there can be."""

    name = "always"

    def asks(self, now: Observation) -> bool:
        return True
