"""The machine at hand: how many processors it has, and how fast it multiplies matrices."""

import torch
from torch.utils.benchmark import Timer

from core.threads import processors as cores

__all__ = ["cores", "product_rate"]

SIZE = 2_048
"""Rows and columns: products this large run at full rate, and take a few tenths of a second on one core."""


def product_rate(precision: torch.dtype, seconds: float) -> float:
    """Multiply-accumulates a second of a large matrix product: the best of ``seconds`` seconds."""
    left, right = (torch.randn(SIZE, SIZE).to(precision) for _ in range(2))
    names = {"left": left, "right": right, "out": torch.empty_like(left)}
    timer = Timer("torch.mm(left, right, out=out)", globals=names, num_threads=torch.get_num_threads())
    return SIZE**3 / min(timer.blocked_autorange(min_run_time=seconds).times)
