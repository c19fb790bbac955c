"""What the cloud learns from."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class TrainingSet:
    """The histories that the cloud knows, and one validation item after each of them."""

    offsets: np.ndarray
    """``(U + 1,)``: user u's history is ``items[offsets[u]:offsets[u + 1]]``."""
    items: np.ndarray
    validation: np.ndarray
    """``(U,)`` item ids."""
    num_items: int
    times: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """When each of ``items`` was interacted with, in seconds; only references ask."""
    types: np.ndarray | None = None
    """``(N,)`` from 1: the type of its user at each of ``items``; None where it is not known. Only oracles ask."""
    validation_types: np.ndarray | None = None
    """``(U,)``: the same of ``validation``."""
    num_types: int = 0
    """How many types the data set has; of some of them the histories may have no user."""

    @property
    def targets(self) -> int:
        """Next-item targets in one epoch."""
        return int(np.maximum(np.diff(self.offsets) - 1, 0).sum())
