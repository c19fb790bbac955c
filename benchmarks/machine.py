"""The machine at hand: how many processors it has, and how fast it multiplies matrices."""

import os
import time

import torch

SIZE = 2_048
"""Rows and columns: products this large run at full rate, and take a few tenths of a second on one core."""


def product_rate(precision: torch.dtype, seconds: float) -> float:
    """Multiply-accumulates a second of a large matrix product: the best of ``seconds`` seconds, at least two."""
    left, right = (torch.randn(SIZE, SIZE).to(precision) for _ in range(2))
    out = torch.empty_like(left)
    torch.mm(left, right, out=out)
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        times.append(time.perf_counter() - started)
    return SIZE**3 / min(times)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
