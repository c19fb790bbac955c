"""Linear layers in the precision of fast products, forwards and backwards; what they read and give is as it was."""

from typing import Any

import torch
from torch import Tensor

from models.kernels.precision import product_type

STEADY = 64
"""What a number of rows is a multiple of where fast products are used. PyTorch writes a program for each size of such a
product, in milliseconds: with paths, as many devices run a block as it happens, and no size comes twice."""


def precision_for(x: Tensor) -> torch.dtype:
    """That of products with the rows of ``x`` ``(..., in)``."""
    rows = x.numel() // x.shape[-1]
    return product_type(x.device) if rows % STEADY == 0 else x.dtype


class SharedLinear(torch.autograd.Function):
    """``x W + b`` for ``x`` ``(N, in)``, ``W`` ``(in, out)`` and ``b`` ``(out,)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        precision = precision_for(x)
        short, factor = x.to(precision), matrix.to(precision)
        ctx.save_for_backward(short, factor)
        return torch.add(short @ factor, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        short, factor = ctx.saved_tensors
        (grad,) = grads
        narrow = grad.to(short.dtype)
        return (narrow @ factor.T).to(grad.dtype), (short.T @ narrow).to(grad.dtype), grad.sum(0)


class LowRankLinear(torch.autograd.Function):
    """``x (W + V diag(g) U) + b + s`` for ``x`` ``(D, m, in)`` of ``D`` devices with gains ``g`` ``(D, r)`` and shifts
    ``s`` ``(D, out)``.

    ``W`` ``(in, out)``, ``b`` ``(out,)``, ``V`` ``(in, r)`` and ``U`` ``(r, out)`` are shared, so that ``[W; U]`` is
    one factor of ``[x, x V diag(g)]``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor, down: Tensor, up: Tensor, gains: Tensor, shifts: Tensor
    ) -> Tensor:
        precision = precision_for(x)
        short, narrow_down, factor = x.to(precision), down.to(precision), torch.cat([matrix, up]).to(precision)
        inner = (short.flatten(0, 1) @ narrow_down).view(*x.shape[:2], -1)
        both = torch.cat([short, inner * gains.to(precision).unsqueeze(1)], dim=2)
        ctx.save_for_backward(both, inner, narrow_down, factor, gains)
        out = (both.flatten(0, 1) @ factor).view(*x.shape[:2], -1)
        return torch.add(out, (bias + shifts).unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        both, inner, down, factor, gains = ctx.saved_tensors
        (grad,), inputs = grads, len(down)
        d_shifts, narrow = grad.sum(1), grad.to(both.dtype).flatten(0, 1)
        d_both = (narrow @ factor.T).view_as(both)
        d_factor = (both.flatten(0, 1).T @ narrow).to(grad.dtype)
        changed = d_both[:, :, inputs:]
        d_gains = (changed * inner).sum(1, dtype=grad.dtype)
        d_inner = (changed * gains.to(both.dtype).unsqueeze(1)).flatten(0, 1)
        d_x = (d_inner @ down.T).view(*both.shape[:2], inputs).to(grad.dtype).add_(d_both[:, :, :inputs])
        d_down = (both.flatten(0, 1)[:, :inputs].T @ d_inner).to(grad.dtype)
        return d_x, d_factor[:inputs], d_shifts.sum(0), d_down, d_factor[inputs:], d_gains, d_shifts
