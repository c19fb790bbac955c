"""Derived randomness: one independent stream per (seed, purpose, ...), so order of execution changes nothing."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: int | str) -> int:
    """Return a 63-bit seed that depends on the run's seed and on what it is for, and on nothing else.

    >>> derive(0, "dropout", 3) == derive(0, "dropout", 3)
    True
    """
    text = "/".join([str(seed), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """A NumPy generator of its own for this purpose."""
    return np.random.default_rng(derive(seed, *purpose))


def torch_generator(seed: int, *purpose: int | str) -> "torch.Generator":
    """A PyTorch CPU generator of its own for this purpose."""
    import torch  # here, since commands derive seeds before they need PyTorch

    return torch.Generator().manual_seed(derive(seed, *purpose))
