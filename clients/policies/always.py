"""Ask before every session, as the paper's devices do."""

from clients.policies.base import Policy, Situation


class Always(Policy):
    """The most requests there can be."""

    name = "always"

    def asks(self, now: Situation) -> bool:
        return True
