"""Causal attention over short windows for training: a few products of many small matrices.

PyTorch's kernels are made for long sequences. With ten items a row of scores has fewer numbers than a vector of the
processor, and a softmax over such rows takes several times as long as all products of the attention. Here sums over
rows are products with a matrix of ones, and the exponential goes over all scores at once.
"""

from typing import Any

import torch
from torch import Tensor

LONGEST = 64
"""Items of a window up to which all scores are held at once."""
SAFE = 80.0
"""Scores between minus this and this have exponentials that single precision holds, and so have their sums; of others
the largest of their row is subtracted first, which changes nothing but takes time."""


class _Causal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> Tensor:
        windows, n, width = qkv.shape
        split = (windows, n, 3, heads, width // 3 // heads)
        q, k, v = parts = qkv.view(split).permute(2, 0, 3, 1, 4).reshape(3, windows * heads, n, split[4])
        past = qkv.new_ones(n, n).tril_()
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(split[4] ** -0.5)
        least, largest = scores.aminmax()
        if not (float(least) > -SAFE and float(largest) < SAFE):
            scores.masked_fill_(past == 0, -torch.inf)
            scores -= scores.amax(2, keepdim=True)
        weights = scores.exp_().mul_(past)
        weights.view(-1, n).div_(weights.view(-1, n) @ torch.ones_like(past))
        ctx.save_for_backward(parts, weights)
        ctx.split = split
        return torch.bmm(weights, v).view(windows, heads, n, -1).transpose(1, 2).reshape(windows, n, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        parts, weights = ctx.saved_tensors
        windows, n, _, heads, each = ctx.split
        q, k, v = parts
        grad = grads[0].view(windows, n, heads, each).transpose(1, 2).reshape(windows * heads, n, each)
        d_parts = torch.empty_like(parts)
        torch.bmm(weights.transpose(1, 2), grad, out=d_parts[2])
        d_scores = torch.bmm(grad, v.transpose(1, 2)).mul_(weights)
        sums = d_scores.view(-1, n) @ weights.new_ones(n, n)
        d_scores.addcmul_(weights, sums.view_as(weights), value=-1).mul_(each**-0.5)
        torch.bmm(d_scores, k, out=d_parts[0])
        torch.bmm(d_scores.transpose(1, 2), q, out=d_parts[1])
        return d_parts.view(3, windows, heads, n, each).permute(1, 3, 0, 2, 4).reshape(windows, n, -1), None


def causal_attention(qkv: Tensor, heads: int) -> Tensor:
    """Mix values: queries, keys and values ``(W, n, 3 * d)`` of ``W`` windows, each ``d`` of several heads, one after
    the other, to ``(W, n, d)``. A position sees itself and those before it; a head's scores are divided by the root of
    its width."""
    out: Tensor = _Causal.apply(qkv, heads)
    return out
