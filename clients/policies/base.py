"""What a request policy is: at the beginning of a session, does this device ask for a new network?"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # the options know the policies, and need no numbers
    import numpy as np


@dataclass(frozen=True)
class Observation:
    """What a device knows when a session begins. It has a network; the first session, without one, needs no policy."""

    since: int
    """Sessions since the last adaptation, at least 1."""
    interest: "np.ndarray"
    """``(64,)``: the latent interest now."""
    sent: "np.ndarray"
    """``(64,)``: the latent interest that the device's network was made for."""
    losses: "np.ndarray"
    """``(E,)`` losses of the events since the last adaptation, in order, from 0 (rank 1) to 1 (last of all items)."""
    draw: float
    """A uniform number in [0, 1), the device-session's own."""
    switch: int
    """Sessions since another interest took over, -1 for none: told by the simulation, known to the oracle alone."""
    doubt: float
    """Probability that the network the device has is wrong, by the mis-recommendation detector; 0 where none is
    installed."""


class Policy(ABC):
    """When to ask. A policy is made from one number and keeps no state, so that a session can be repeated."""

    name: ClassVar[str]
    """As on the command line."""
    default: ClassVar[float | None] = None
    """Of the parameter; None for a policy that takes none."""
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Between which the parameter must lie, ends included."""
    whole: ClassVar[bool] = False
    """Whether the parameter counts something."""
    rising: ClassVar[bool | None] = None
    """Whether a larger parameter means more requests; None: the parameter is no threshold that could be calibrated."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of ``interest``, ``losses``, ``doubt``: what the device has to compute or keep for it."""

    def __init__(self, parameter: float = 0.0) -> None:
        self.parameter = parameter

    @abstractmethod
    def asks(self, now: Observation) -> bool:
        """Whether a device that has a network asks for another one."""

    @classmethod
    def for_rate(cls, rate: float) -> float | None:
        """The parameter with which a device asks in this share of its sessions; None if that has to be calibrated."""
        return None
