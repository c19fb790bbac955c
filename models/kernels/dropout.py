"""Dropout whose masks come from random bytes: eight to a draw, where PyTorch's own draws one number an element."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
_source = threading.local()


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Inside, dropout on the CPU draws from ``generator``, in this thread and no other."""
    _source.generator = generator
    try:
        yield
    finally:
        del _source.generator


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Zero each element with probability ``rate``, to the nearest 1/256, and scale the rest to keep the mean.

    Draws from PyTorch's global generator of the device that ``x`` is on, unless :func:`drawing_from` names another.
    """
    dropped = round(rate * LEVELS)
    if not training or dropped == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(
        -(2**63), None, generator=getattr(_source, "generator", None)
    )
    kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * (kept.to(x.dtype) * (LEVELS / (LEVELS - dropped)))
