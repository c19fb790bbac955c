"""Forward-OFA's ablations on the device: as many blocks as its controller says, but not those (the paper's Table 3)."""

from collections.abc import Callable

import numpy as np

from clients.session_config import SessionConfig
from core.seeds import numpy_generator

Redraw = Callable[[np.ndarray, SessionConfig], np.ndarray]
"""From the path ``(L,)`` that the controller chose for a device in a session to the one it asks for."""


def random_blocks(path: np.ndarray, config: SessionConfig) -> np.ndarray:
    """As many blocks, anywhere; drawn once for each device and session."""
    rng = numpy_generator(config.seed, "random blocks", config.device, config.session)
    out = np.zeros_like(path)
    out[rng.choice(len(path), int(path.sum()), replace=False)] = True
    return out


def first_blocks(path: np.ndarray, config: SessionConfig) -> np.ndarray:
    """As many blocks from the front."""
    return np.arange(len(path)) < path.sum()


def last_blocks(path: np.ndarray, config: SessionConfig) -> np.ndarray:
    """As many blocks from the back."""
    return np.arange(len(path)) >= len(path) - path.sum()
