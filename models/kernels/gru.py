"""A GRU's states with their gradient written out: the extractors' cost in training is all small operations.

PyTorch's own backward pass through time makes a weight gradient at every step and adds it up; here a step forward is
one product and four elementwise operations, a step back is one product and two, and each weight gradient is one
product over all steps. Units come before sequences in memory, so that each gate of a step is one piece of it: an
operation on a part of every row takes three times as long. (Cho et al. 2014, in the form of ``torch.nn.GRU``.)
"""

from typing import Any

import torch
from torch import Tensor, nn

NUMBERS = 1 << 17
"""Of the gates, whose derivatives are made at once: 0.5 MB, so that they stay in the cache."""
CLOSED = 1e4
"""Added to what the update gate of an ended sequence adds up: the gate is exactly 1, and its derivative exactly 0."""


class _States(torch.autograd.Function):
    """The last state ``(C D, d)``, and that after each step ``(m, d, C D)``, which costs nothing without a gradient.

    The four gates of all steps lie one after the other, ``(m, 4 d, D)``: candidate, reset, update, and the
    candidate's share of the state before it is reset.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        lengths: Tensor,
        start: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        precision: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        (sequences, steps, _), (count, width) = x.shape, start.shape
        two, three = 2 * width, 3 * width
        w_in = torch.cat([w_ih[two:], w_ih[:two]]).to(precision)  # the candidate first
        bias = torch.cat([b_ih[two:], b_ih[:two] + b_hh[:two]]).unsqueeze(1)
        short = x.transpose(0, 1).to(precision, memory_format=torch.contiguous_format)  # (m, D, d)
        given = torch.bmm(w_in.expand(steps, -1, -1), short.transpose(1, 2))
        cells, states = x.new_empty(steps, 4 * width, count), x.new_empty(steps + 1, width, count)
        for mine in cells[:, :three].split(sequences, dim=2):
            torch.add(given, bias.expand(three, sequences), out=mine)
        cells[:, three:] = b_hh[two:].unsqueeze(1)
        least = int(lengths.min())
        ended = torch.arange(least, steps, device=x.device)[:, None] >= lengths
        cells[least:, two:three] += (ended.to(x.dtype) * CLOSED).unsqueeze(1)
        states[0] = start.T
        # All views of all steps at once: made one by one they would cost as much as the arithmetic.
        ranges = ((0, width), (width, two), (two, three), (three, None), (width, None), (width, three))
        views = (cells[:, first:end].unbind() for first, end in ranges)
        for before, after, new, reset, keep, known, recalled, both in zip(
            states[:-1].unbind(), states[1:].unbind(), *views, strict=True
        ):
            recalled.addmm_(w_hh, before)
            both.sigmoid_()
            new.addcmul_(reset, known).tanh_()
            torch.lerp(new, before, keep, out=after)
        ctx.save_for_backward(short, states, cells, w_in, w_hh)
        ctx.set_materialize_grads(False)
        return states[steps].T.contiguous(), states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        short, states, cells, w_in, w_hh = ctx.saved_tensors
        steps, width, count = cells.shape[0], states.shape[1], states.shape[2]
        sequences, depth, two, three = short.shape[1], short.shape[2], 2 * width, 3 * width
        d_last, d_each = grads
        d_cells, d_state = _derivatives(cells, states[:-1]), states.new_zeros(width, count)
        if d_last is not None:
            d_state += d_last.T
        recurrent = w_hh.T.contiguous()
        each = d_cells.view(steps, 4, width, count).unbind()
        views = (each, d_cells[:, width:].unbind(), cells[:, two:three].unbind())
        for step, (mine, recalled, keep) in reversed(list(enumerate(zip(*views, strict=True)))):
            if d_each is not None:
                d_state += d_each[step]
            mine.mul_(d_state)
            d_state.mul_(keep).addmm_(recurrent, recalled)
        back = d_cells.transpose(0, 1).to(short.dtype, memory_format=torch.contiguous_format)  # (4 d, m, C D)
        d_bias = back.flatten(1).sum(1, dtype=w_hh.dtype)
        before = states[:-1].transpose(0, 1).to(short.dtype, memory_format=torch.contiguous_format).flatten(1)
        d_w_hh = (back[width:].flatten(1) @ before.T).to(w_hh.dtype)
        given, flat = back[:three], short.flatten(0, 1)
        if count > sequences:
            given = given.view(three, steps, -1, sequences).sum(2, dtype=w_hh.dtype).to(short.dtype)
        given = given.flatten(1)
        d_w_in = (given @ flat).to(w_hh.dtype)
        d_w_ih, d_b_ih = (torch.cat([x[width:three], x[:width]]) for x in (d_w_in, d_bias))
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (given.T @ w_in).to(w_hh.dtype).view(steps, sequences, depth).transpose(0, 1)
        return d_x, None, d_state.T, d_w_ih, d_w_hh, d_b_ih, d_bias[width:], None


def _derivatives(cells: Tensor, before: Tensor) -> Tensor:
    """What the gradient of a state is multiplied with to be that of what each of its four gates adds up.

    ``cells`` ``(m, 4 d, D)`` are the gates and ``before`` ``(m, d, D)`` the states that they changed.
    """
    out, rows = torch.empty_like(cells), max(1, NUMBERS // cells[0].numel())
    for mine, gates, state in zip(out.split(rows), cells.split(rows), before.split(rows), strict=True):
        d_new, d_reset, d_keep, d_known = mine.chunk(4, 1)
        new, reset, keep, known = gates.chunk(4, 1)
        torch.ops.aten.tanh_backward.grad_input(1 - keep, new, grad_input=d_new)
        torch.mul(d_new, reset, out=d_known)
        torch.ops.aten.sigmoid_backward.grad_input(d_new * known, reset, grad_input=d_reset)
        torch.ops.aten.sigmoid_backward.grad_input(state - new, keep, grad_input=d_keep)
    return out


def states(
    gru: nn.GRU, x: Tensor, lengths: Tensor, start: Tensor, precision: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """State of a one-layer ``gru`` after the last real item of each right-padded sequence, ``(C D, d)``, and after each
    item up to the last of the longest one, ``(C D, longest, d)``; in padding it stays as it was.

    ``x`` ``(D, m, d)``, ``start`` ``(C D, d)`` and ``lengths`` ``(C D,)`` from 1 to m: each sequence is read ``C``
    times, from as many states. ``precision`` of the products over all steps: by default that of ``x``; a step's own
    product, on which all later ones build, is in that of ``x``.
    """
    weights = (gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)
    last, each = _States.apply(x[:, : int(lengths.max())], lengths, start, *weights, precision or x.dtype)
    return last, each.permute(2, 0, 1)
