"""Full-softmax cross-entropy against all candidates, without ever holding all logits.

The loss of equation 1. Logits, softmax and both gradients are made for a chunk of rows that stays in the cache, in the
forward pass: three matrix products and one softmax, against several times the memory traffic in the usual form. The
logits and their probabilities may be in bfloat16; sums over targets are in single precision.
"""

from typing import Any

import torch
from torch import Tensor

from models.candidates import Seen

LOGITS = 800_000
"""Most logits alive at once: with 3,000 items those of 260 rows, 1.6 MB in bfloat16."""
GPU_LOGITS = 100_000_000
EXCLUDED = -1e9
"""Logit of an item that is no candidate, where it has to be finite."""


def _rows(states: Tensor, table: Tensor) -> int:
    """Rows of a chunk."""
    most = LOGITS if states.device.type == "cpu" else GPU_LOGITS
    return max(1, min(len(states), most // len(table)))


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        targets: Tensor,
        weights: Tensor,
        precision: torch.dtype,
        seen: Seen | None,
    ) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        tiny = torch.finfo(states.dtype).tiny
        rows, short = _rows(states, table), table.to(precision)
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            chunk, wanted, weight = states[part].to(precision), targets[part, None], weights[part, None]
            logits = chunk @ short.T
            if seen is not None:
                seen[part].exclude(logits)
            slope = torch.softmax(logits, dim=1)  # one kernel, rounded once; from here on it is the gradient
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
        return d_states * grads[0], d_table * grads[0], None, None, None, None


def full_softmax_loss(
    states: Tensor,
    items: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    precision: torch.dtype | None = None,
    seen: Seen | None = None,
) -> Tensor:
    """Cross-entropy of ``states`` ``(N, d)`` against every candidate: the mean, or the sum with ``weights`` ``(N,)``.

    ``items`` is the embedding table ``(num_items + 1, d)`` with padding in row 0, which is never a candidate;
    ``targets`` ``(N,)`` are item ids from 1. ``precision`` of the matrix products: by default that of the states.
    ``seen`` ``(N,)`` are the items that are no candidates, of which a target is never one; None: there are none.
    """
    if weights is None:
        weights = states.new_full((len(states),), 1 / max(len(states), 1))
    loss: Tensor = _FullSoftmax.apply(states, items[1:], targets - 1, weights, precision or states.dtype, seen)
    return loss


class _Distillation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        teacher_states: Tensor,
        teacher_table: Tensor,
        weight: float,
        seen: Seen | None,
    ) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        rows = _rows(states, table)
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            chunk = states[part]
            student_logits, teacher_logits = chunk @ table.T, teacher_states[part] @ teacher_table.T
            if seen is not None:  # a finite number: minus infinity minus itself is none
                seen[part].exclude(student_logits, EXCLUDED)
                seen[part].exclude(teacher_logits, EXCLUDED)
            log_student = torch.log_softmax(student_logits, dim=1)
            log_teacher = torch.log_softmax(teacher_logits, dim=1)
            teacher = log_teacher.exp()
            total += (teacher * (log_teacher - log_student)).sum() * weight
            slope = (log_student.exp() - teacher) * weight
            torch.mm(slope, table, out=d_states[part])
            d_table.addmm_(slope.T, chunk)
        ctx.save_for_backward(d_states, d_table)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_table = ctx.saved_tensors
        return d_states * grads[0], d_table * grads[0], None, None, None, None


def distillation_loss(
    states: Tensor, items: Tensor, teacher_states: Tensor, teacher_items: Tensor, seen: Seen | None = None
) -> Tensor:
    """Mean over ``N`` rows of KL(teacher || student) between the distributions over all candidates.

    ``states`` ``(N, d)`` and ``items`` ``(num_items + 1, d)`` are the student's, with padding in row 0; nothing flows
    back to the teacher. ``seen`` ``(N,)`` are the items that are no candidates.
    """
    loss: Tensor = _Distillation.apply(
        states, items[1:], teacher_states, teacher_items[1:], 1 / max(len(states), 1), seen
    )
    return loss
