"""Full-softmax cross-entropy against all candidates, without ever holding all logits.

The loss of equation 1. Logits, softmax and both gradients are made for a chunk of rows that stays in the cache, in the
forward pass: three matrix products and one softmax, against several times the memory traffic in the usual form. The
logits and their probabilities may be in bfloat16; sums over targets are in single precision.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.candidates import Seen

LOGITS = 800_000
"""Most logits alive at once: with 3,000 items those of 260 rows, 1.6 MB in bfloat16."""
GPU_LOGITS = 100_000_000
EXCLUDED = -1e9
"""Logit of an item that is no candidate, where it has to be finite."""


@dataclass(frozen=True)
class Spread:
    """Items beside the target of each of ``N`` rows that get a part of its weight, where they are candidates."""

    items: Tensor
    """``(N, E)`` ids from 1; 0 is no item. A row may name an item twice."""
    weights: Tensor
    """``(N, E)``, at least 0: in which proportion they share the part."""
    share: float
    """The part, from 0 to 1. The target keeps the rest, and all of it where no item of its row has a weight."""

    def __getitem__(self, rows: slice) -> "Spread":
        return Spread(self.items[rows], self.weights[rows], self.share)

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each row's target keeps ``(N, 1)``, the columns of the others ``(N, E)`` and what each of them gets.

        ``logits`` ``(N, num_items)`` are minus infinity where there is no candidate.
        """
        columns = (self.items - 1).clamp(min=0)
        able = (self.items > 0) & (logits.gather(1, columns) > -torch.inf)
        weights = torch.where(able, self.weights, 0.0)
        total = weights.sum(1, keepdim=True)
        part = self.share * (total > 0).to(weights.dtype)
        return 1 - part, columns, weights / total.clamp(min=torch.finfo(weights.dtype).tiny) * part


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
        spread: Spread | None,
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
            kept = slope.new_ones((1, 1)).expand(len(wanted), 1)
            gain = slope.gather(1, wanted).to(states.dtype).clamp_(min=tiny).log()
            if spread is not None:
                kept, columns, parts = spread[part].parts(logits)
                others = slope.gather(1, columns).to(states.dtype).clamp_(min=tiny).log()
                gain = kept * gain + (parts * others).sum(1, keepdim=True)
                slope.scatter_add_(1, columns, -parts.to(precision))
            total -= (gain * weight).sum()
            slope.scatter_add_(1, wanted, -kept.to(precision))
            d_states[part] = (slope @ short).to(states.dtype) * weight
            if ctx.needs_input_grad[1]:
                d_table += slope.T @ (chunk * weight).to(precision)
        ctx.save_for_backward(d_states, d_table)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_table = ctx.saved_tensors
        return d_states * grads[0], d_table * grads[0], None, None, None, None, None


def full_softmax_loss(
    states: Tensor,
    items: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    precision: torch.dtype | None = None,
    seen: Seen | None = None,
    spread: Spread | None = None,
) -> Tensor:
    """Cross-entropy of ``states`` ``(N, d)`` against every candidate: the mean, or the sum with ``weights`` ``(N,)``.

    ``items`` is the embedding table ``(num_items + 1, d)`` with padding in row 0, which is never a candidate;
    ``targets`` ``(N,)`` are item ids from 1. ``precision`` of the matrix products: by default that of the states.
    ``seen`` ``(N,)`` are the items that are no candidates, of which a target is never one; None: there are none.
    With ``spread`` a part of each target's weight lies on other items.
    """
    if weights is None:
        weights = states.new_full((len(states),), 1 / max(len(states), 1))
    loss: Tensor = _FullSoftmax.apply(states, items[1:], targets - 1, weights, precision or states.dtype, seen, spread)
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
