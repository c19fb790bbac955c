"""Full-softmax cross-entropy against all items, without ever holding all logits.

The loss of equation 1. Logits, softmax and both gradients are made for a chunk of rows that stays in the cache, in the
forward pass: three matrix products and one exponential, against three times the memory traffic in the usual form.
"""

from typing import Any

import torch
from torch import Tensor

ROWS = 256
"""Rows of logits alive at once; with 3,000 items that is 3 MB."""


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        rows = ROWS if states.device.type == "cpu" else 8192
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            chunk, wanted, weight = states[part], targets[part, None], weights[part, None]
            logits = chunk @ table.T
            logits -= logits.amax(dim=1, keepdim=True)
            hit = logits.gather(1, wanted)
            torch.exp(logits, out=logits)
            norm = logits.sum(dim=1, keepdim=True)
            total += ((norm.log() - hit) * weight).sum()
            logits *= weight / norm
            logits.scatter_add_(1, wanted, -weight)
            torch.mm(logits, table, out=d_states[part])
            if ctx.needs_input_grad[1]:
                d_table.addmm_(logits.T, chunk)
        ctx.save_for_backward(d_states, d_table)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_states, d_table = ctx.saved_tensors
        return d_states * grads[0], d_table * grads[0], None, None


def full_softmax_loss(states: Tensor, items: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of ``states`` ``(N, d)`` against every item: the mean, or the sum with ``weights`` ``(N,)``.

    ``items`` is the embedding table ``(num_items + 1, d)`` with padding in row 0, which is never a candidate;
    ``targets`` ``(N,)`` are item ids from 1.
    """
    if weights is None:
        weights = states.new_full((len(states),), 1 / len(states))
    loss: Tensor = _FullSoftmax.apply(states, items[1:], targets - 1, weights)
    return loss


class _Distillation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, teacher_states: Tensor, teacher_table: Tensor, weight: float
    ) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        rows = ROWS if states.device.type == "cpu" else 8192
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
