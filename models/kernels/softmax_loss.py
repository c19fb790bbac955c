"""Full-softmax cross-entropy against all items, without ever holding all logits.

The loss of equation 1. Logits, softmax and both gradients are made for a chunk of rows that stays in the cache, in the
forward pass: three matrix products and one softmax, against several times the memory traffic in the usual form. The
logits and their probabilities may be in bfloat16; sums over targets are in single precision.
"""

from typing import Any

import torch
from torch import Tensor

LOGITS = 800_000
"""Most logits alive at once: with 3,000 items those of 260 rows, 1.6 MB in bfloat16."""
GPU_LOGITS = 100_000_000


def _rows(states: Tensor, table: Tensor) -> int:
    """Rows of a chunk."""
    most = LOGITS if states.device.type == "cpu" else GPU_LOGITS
    return max(1, min(len(states), most // len(table)))


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, precision: torch.dtype
    ) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        tiny = torch.finfo(states.dtype).tiny
        rows, short = _rows(states, table), table.to(precision)
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            chunk, wanted, weight = states[part].to(precision), targets[part, None], weights[part, None]
            slope = torch.softmax(chunk @ short.T, dim=1)  # one kernel, rounded once; from here on it is the gradient
            total -= (slope.gather(1, wanted).to(states.dtype).clamp_(min=tiny).log() * weight).sum()
            slope.scatter_add_(1, wanted, slope.new_full((1, 1), -1.0).expand(len(wanted), 1))
            d_states[part] = (slope @ short).to(states.dtype) * weight
            if ctx.needs_input_grad[1]:
                d_table += slope.T @ (chunk * weight).to(precision)
        ctx.save_for_backward(d_states, d_table)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_table = ctx.saved_tensors
        return d_states * grads[0], d_table * grads[0], None, None, None


def full_softmax_loss(
    states: Tensor,
    items: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    precision: torch.dtype | None = None,
) -> Tensor:
    """Cross-entropy of ``states`` ``(N, d)`` against every item: the mean, or the sum with ``weights`` ``(N,)``.

    ``items`` is the embedding table ``(num_items + 1, d)`` with padding in row 0, which is never a candidate;
    ``targets`` ``(N,)`` are item ids from 1. ``precision`` of the matrix products: by default that of the
    states.
    """
    if weights is None:
        weights = states.new_full((len(states),), 1 / len(states))
    loss: Tensor = _FullSoftmax.apply(states, items[1:], targets - 1, weights, precision or states.dtype)
    return loss


class _Distillation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, teacher_states: Tensor, teacher_table: Tensor, weight: float
    ) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        rows = _rows(states, table)
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            chunk = states[part]
            log_student = torch.log_softmax(chunk @ table.T, dim=1)
            log_teacher = torch.log_softmax(teacher_states[part] @ teacher_table.T, dim=1)
            teacher = log_teacher.exp()
            total += (teacher * (log_teacher - log_student)).sum() * weight
            slope = (log_student.exp() - teacher) * weight
            torch.mm(slope, table, out=d_states[part])
            d_table.addmm_(slope.T, chunk)
        ctx.save_for_backward(d_states, d_table)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_states, d_table = ctx.saved_tensors
        return d_states * grads[0], d_table * grads[0], None, None, None


def distillation_loss(states: Tensor, items: Tensor, teacher_states: Tensor, teacher_items: Tensor) -> Tensor:
    """Mean over ``N`` rows of KL(teacher || student) between the distributions over all items.

    ``states`` ``(N, d)`` and ``items`` ``(num_items + 1, d)`` are the student's, with padding in row 0; nothing flows
    back to the teacher.
    """
    loss: Tensor = _Distillation.apply(states, items[1:], teacher_states, teacher_items[1:], 1 / len(states))
    return loss
