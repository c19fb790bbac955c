"""Dropout whose masks come from random bytes: eight to a draw, where PyTorch's own draws one number an element."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Zero each element with probability ``rate``, to the nearest 1/256, and scale the rest to keep the mean.

    Draws from PyTorch's global generator of the device that ``x`` is on.
    """
    dropped = round(rate * LEVELS)
    if not training or dropped == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * (kept.to(x.dtype) * (LEVELS / (LEVELS - dropped)))
