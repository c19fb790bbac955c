"""LitePred's latency predictor on a device: a linear model of the blocks that run (Feng et al. 2024, simplified).

The original predicts each kind of operator with a network of its own, chooses what to measure with a variational
autoencoder, and transfers predictors between platforms. Here a subnet is a set of equal blocks, so a device measures a
few random paths on itself and fits one coefficient a block. It measures by the simulation's virtual clock, which is
linear in what is multiplied: the fit is as good as exact, as it would not be on a phone.
"""

from dataclasses import dataclass

import numpy as np

SAMPLES = 32
"""Paths that a device measures, one inference each."""


@dataclass(frozen=True)
class Latency:
    """Predicted seconds of one inference."""

    base: float
    """What every path takes: scoring."""
    blocks: np.ndarray
    """``(L,)``: what each block adds."""

    def __call__(self, path: np.ndarray) -> float:
        """Of the blocks in ``path`` ``(L,)`` bool."""
        return self.base + float(self.blocks @ path)


def fit(paths: np.ndarray, seconds: np.ndarray) -> Latency:
    """Least squares on the measured paths ``(N, L)`` bool and their latencies ``(N,)``."""
    design = np.column_stack([np.ones(len(paths)), paths])
    found, *_ = np.linalg.lstsq(design, seconds, rcond=None)
    return Latency(float(found[0]), found[1:])


def sample(blocks: int, rng: np.random.Generator) -> np.ndarray:
    """The paths to measure, ``(SAMPLES, L)`` bool."""
    drawn: np.ndarray = rng.random((SAMPLES, blocks)) < 0.5
    return drawn
