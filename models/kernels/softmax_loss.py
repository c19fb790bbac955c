"""Full-softmax cross-entropy against all candidates, without ever holding all logits.

The loss of equation 1. Logits, softmax and both gradients are made for a chunk of rows that stays in the cache, in the
forward pass: three matrix products and one softmax, against several times the memory traffic in the usual form.

Training has a form of its own: logits and their probabilities may be in bfloat16 (sums over targets are in single
precision), each row of them has places that are no item, so that products find a width that suits them and an entry
that names no item needs no exception, and what is sparse touches its own places only.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.candidates import Seen

LOGITS = 800_000
"""Most logits alive at once: with 3,000 items those of 260 rows, 1.6 MB in bfloat16."""
TRAINING_LOGITS = 1_000_000
"""The same in training, where the rows are divided evenly: with 3,000 items up to 330 rows."""
GPU_LOGITS = 100_000_000
_HUGE = 1e30
"""Plus any logit it is this number, and minus infinity is left as it is."""
EXCLUDED = -1e9
"""Logit of an item that is no candidate, where it has to be finite."""
LANES = 32
"""Numbers in bfloat16 that a processor takes at once: rows of another length cost a product up to twice the time."""


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

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What each row's target keeps ``(N, 1)``, and what each of the others gets ``(N, E)``.

        ``logits`` ``(N, E)`` are those of :attr:`items`, minus infinity where there is no item or no candidate.
        """
        able = logits.to(self.weights.dtype).add_(_HUGE).clamp_(0, 1)  # a mask of booleans takes ten times as long
        weights = able.mul_(self.weights)
        total = weights.sum(1, keepdim=True)
        part = self.share * (total > 0).to(weights.dtype)
        return 1 - part, weights.mul_(part / total.clamp(min=torch.finfo(weights.dtype).tiny))


def _rows(states: Tensor, table: Tensor) -> int:
    """Rows of a chunk."""
    most = LOGITS if states.device.type == "cpu" else GPU_LOGITS
    return max(1, min(len(states), most // len(table)))


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, weights: Tensor, seen: Seen | None) -> Tensor:
        total = states.new_zeros(())
        d_states, d_table = torch.empty_like(states), torch.zeros_like(table)
        tiny = torch.finfo(states.dtype).tiny
        rows = _rows(states, table)
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            chunk, wanted, weight = states[part], targets[part, None] - 1, weights[part, None]
            logits = chunk @ table.T
            if seen is not None:
                seen[part].exclude(logits)
            slope = torch.softmax(logits, dim=1)  # from here on it is the gradient
            total -= (slope.gather(1, wanted).clamp_(min=tiny).log() * weight).sum()
            slope.scatter_add_(1, wanted, slope.new_full((1, 1), -1.0).expand_as(wanted))
            d_states[part] = (slope @ table) * weight
            if ctx.needs_input_grad[1]:
                d_table += slope.T @ (chunk * weight)
        ctx.save_for_backward(d_states, d_table)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_table = ctx.saved_tensors
        return d_states * grads[0], d_table * grads[0], None, None, None


class _TrainingLoss(torch.autograd.Function):
    """The same with ``items`` ``(num_items + 1, d)``: an item's column is its id, and those beyond are no items."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        items: Tensor,
        targets: Tensor,
        weights: Tensor,
        precision: torch.dtype,
        seen: Seen | None,
        spread: Spread | None,
    ) -> Tensor:
        total = states.new_zeros(())
        d_states, d_items = torch.empty_like(states), torch.zeros_like(items)
        tiny, count, width = torch.finfo(states.dtype).tiny, len(items), padded_width(len(items))
        short = torch.zeros(width, items.shape[1], dtype=precision, device=items.device)
        short[:count] = items
        rows = even_rows(len(states), (TRAINING_LOGITS if items.device.type == "cpu" else GPU_LOGITS) // width)
        # The last chunk is filled up with states of no weight.
        filled = -(-len(states) // rows) * rows
        chunks, weighted = (short.new_zeros(filled, items.shape[1]) for _ in range(2))
        chunks[: len(states)] = states
        weighted[: len(states)] = states * weights.unsqueeze(1)
        # One number more than the logits: `exclude` takes item 1 for the first column, and here it is the second.
        buffer = short.new_empty(rows * width + 1)
        starts = torch.arange(0, rows * width, width, device=items.device).unsqueeze(1)
        logits = buffer[:-1].view(rows, width)
        for start in range(0, len(states), rows):
            part, all_rows = slice(start, min(start + rows, len(states))), slice(start, start + rows)
            wanted, weight = targets[part, None], weights[part, None]
            n = len(wanted)
            torch.mm(chunks[all_rows], short.T, out=logits)
            if seen is not None:
                seen[part].exclude(buffer[1 : n * width + 1].view(n, width))
            logits[:, 0], logits[:, count:] = -torch.inf, -torch.inf
            slope = torch.softmax(logits, dim=1)  # one kernel, rounded once; from here on it is the gradient
            gain = slope[:n].gather(1, wanted).to(states.dtype).clamp_(min=tiny).log_()
            kept = gain.new_ones(())
            flat = slope.view(-1)
            if spread is not None:
                columns = spread.items[part]
                kept, parts = spread[part].parts(logits[:n].gather(1, columns))
                others = slope[:n].gather(1, columns).to(states.dtype).clamp_(min=tiny).log_()
                gain = kept * gain + others.mul_(parts).sum(1, keepdim=True)
                flat.index_add_(0, (columns + starts[:n]).view(-1), parts.neg_().to(precision).view(-1))
            total -= (gain * weight).sum()
            flat.index_add_(0, (wanted + starts[:n]).view(-1), (-kept).to(precision).expand(n, 1).reshape(-1))
            torch.mul((slope @ short)[:n], weight, out=d_states[part])
            if ctx.needs_input_grad[1]:
                d_items += (slope.T @ weighted[all_rows])[:count]
        ctx.save_for_backward(d_states, d_items)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_items = ctx.saved_tensors
        return d_states * grads[0], d_items * grads[0], None, None, None, None, None


def padded_width(columns: int) -> int:
    """An odd multiple of :data:`LANES` that is larger than ``columns``: even ones make rows fall on the same places of
    the cache."""
    lanes = columns // LANES + 1
    return LANES * (lanes + 1 - lanes % 2)


def even_rows(count: int, most: int) -> int:
    """Rows of a chunk where ``count`` rows are divided evenly into chunks of about ``most``: a multiple of
    :data:`LANES`. A product of a size that it has not met makes PyTorch write a program first, in milliseconds, so
    that there should be few sizes."""
    chunks = max(1, -(-count // max(1, most)))
    return max(1, -(-count // (chunks * LANES))) * LANES


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
    ``targets`` ``(N,)`` are item ids from 1. With ``precision``, that of the matrix products, the loss takes the
    form of training; by default they are in that of the states.
    ``seen`` ``(N,)`` are the items that are no candidates, of which a target is never one; None: there are none.
    With ``spread`` a part of each target's weight lies on other items.
    """
    if weights is None:
        weights = states.new_full((len(states),), 1 / max(len(states), 1))
    if precision is None and spread is None:
        plain: Tensor = _FullSoftmax.apply(states, items[1:], targets, weights, seen)
        return plain
    loss: Tensor = _TrainingLoss.apply(states, items, targets, weights, precision or states.dtype, seen, spread)
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
