"""Linear layers with each device's own deviation, in the precision of fast products: most of training."""

from typing import Any

import torch
from torch import Tensor

from models.kernels.precision import product_type


class Deviations(torch.autograd.Function):
    """``latent @ head``, column range by column range, in the precision of fast products.

    The parts stay in that precision, forwards and backwards, so that no pass over all generated weights is left but
    the products themselves.
    """

    @staticmethod
    def forward(ctx: Any, latent: Tensor, head: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        precision = product_type(latent.device)
        latent, head = latent.to(precision), head.to(precision)
        ctx.save_for_backward(latent, head)
        ctx.sizes = sizes
        return tuple(latent @ part for part in head.split(sizes, dim=1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        latent, head = ctx.saved_tensors
        d_head = torch.empty(head.shape, dtype=torch.float32, device=head.device)
        d_latent = torch.zeros(latent.shape, dtype=torch.float32, device=latent.device)
        for grad, part, mine in zip(grads, head.split(ctx.sizes, dim=1), d_head.split(ctx.sizes, dim=1), strict=True):
            mine.copy_(latent.T @ grad)
            d_latent += grad @ part.T
        return d_latent, d_head, None


class DeviatingLinear(torch.autograd.Function):
    """``x (W + D) + b + c``: a linear layer that all devices share, and each device's own deviation from it.

    ``x`` ``(D, m, in)``, ``W`` ``(in, out)``, ``b`` ``(out,)``; ``D`` ``(D, in * out)`` and ``c`` ``(D, out)`` are in
    the precision of :class:`Deviations`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Tensor, bias: Tensor, change: Tensor, shift: Tensor) -> Tensor:
        change, short = change.view(len(x), *base.shape), x.to(change.dtype)
        ctx.save_for_backward(short, base, change)
        out = torch.addmm(bias, x.flatten(0, 1), base).view(*x.shape[:2], -1)
        return out.add_(torch.baddbmm(shift.unsqueeze(1), short, change))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        short, base, change = ctx.saved_tensors
        grad = grads[0].to(short.dtype)
        d_x = (grads[0].flatten(0, 1) @ base.T).view(*short.shape)
        d_x += grad @ change.transpose(1, 2)
        d_base = (short.flatten(0, 1).T @ grad.flatten(0, 1)).to(base.dtype)
        d_shift = grads[0].sum(1)
        return d_x, d_base, d_shift.sum(0), (short.transpose(1, 2) @ grad).flatten(1), d_shift.to(short.dtype)
