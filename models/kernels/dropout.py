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
    if not training or round(rate * LEVELS) == 0:
        return x
    return F.dropout(x, rate) if x.device.type != "cpu" else x * dropout_mask(x, rate)


def dropout_mask(x: Tensor, rate: float) -> Tensor:
    """What :func:`dropout` multiplies ``x``, on the CPU, with: 0, or what keeps the mean."""
    dropped = round(rate * LEVELS)
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(
        -(2**63), None, generator=getattr(_source, "generator", None)
    )
    # Bytes at least `dropped` become 1 and those below 0; comparing them would take several times as long.
    kept = draws.view(torch.uint8)[: x.numel()].to(x.dtype).sub_(dropped - 1).clamp_(0, 1)
    return kept.mul_(LEVELS / (LEVELS - dropped)).view(x.shape)
