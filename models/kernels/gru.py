"""A GRU's last state with its gradient written out: the extractors' cost in training is all small operations.

PyTorch's own backward pass through time makes a weight gradient at every step and adds it up; here a step back is one
product and two elementwise operations, and each weight gradient is one product over all steps. Same function, three
times faster for 128 sequences of 50 items on a CPU. (Cho et al. 2014, in the form of ``torch.nn.GRU``.)
"""

from typing import Any

import torch
from torch import Tensor, nn


class _LastState(torch.autograd.Function):
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
    ) -> Tensor:
        steps, width = int(lengths.max()), start.shape[1]
        w_in = w_ih.to(precision)
        short = x[:, :steps].transpose(0, 1).to(precision).contiguous()  # (m, D, d)
        given = (short.flatten(0, 1) @ w_in.T).to(x.dtype).add_(b_ih).view(steps, len(lengths), -1)
        states, known = x.new_empty(steps + 1, *start.shape), x.new_empty(steps, len(start), 3 * width)
        gates, news = x.new_empty(steps, len(start), 2 * width), x.new_empty(steps, *start.shape)
        ended = (torch.arange(steps, device=x.device)[:, None] >= lengths).unsqueeze(2)  # (m, D, 1)
        some_ended = ended.flatten(1).any(1).tolist()
        states[0] = start
        recurrent = w_hh.T
        # All views of all steps at once: made one by one they would cost as much as the arithmetic.
        given_gates, given_candidate = (part.unbind() for part in given.split([2 * width, width], dim=2))
        known_gates, candidate = (part.unbind() for part in known.split([2 * width, width], dim=2))
        resets, keeps = (part.unbind() for part in gates.split(width, dim=2))
        state, all_known, both, new, over = (x.unbind() for x in (states, known, gates, news, ended))
        for t in range(steps):
            torch.addmm(b_hh, state[t], recurrent, out=all_known[t])
            torch.add(given_gates[t], known_gates[t], out=both[t]).sigmoid_()
            if some_ended[t]:  # a sequence that has ended keeps its state
                keeps[t].masked_fill_(over[t], 1.0)
            torch.addcmul(given_candidate[t], resets[t], candidate[t], out=new[t]).tanh_()
            torch.lerp(new[t], state[t], keeps[t], out=state[t + 1])
        ctx.save_for_backward(short, states, gates, news, known, w_in, w_hh)
        return states[steps].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        short, states, gates, news, known, w_in, w_hh = ctx.saved_tensors
        steps, width = len(news), news.shape[2]
        reset, keep = gates.split(width, dim=2)
        before, candidates = states[:-1], known[:, :, 2 * width :]
        # What one step back multiplies d(state) with, for all steps at once: reset and update gate, candidate.
        inner = (1 - keep) * (1 - news * news)
        factors = torch.stack(
            [inner * candidates * reset * (1 - reset), (before - news) * keep * (1 - keep), inner * reset], dim=2
        )
        d_known, d_states = torch.empty_like(factors), torch.empty_like(states)  # (m, D, 3, d), (m + 1, D, d)
        d_states[steps] = grads[0]
        d_state, d_each = d_states.unbind(), d_states.unsqueeze(2).unbind()
        d_gates, d_row, factor, kept = (x.unbind() for x in (d_known, d_known.flatten(2), factors, keep))
        for t in range(steps - 1, -1, -1):
            torch.mul(d_each[t + 1], factor[t], out=d_gates[t])
            torch.mul(d_state[t + 1], kept[t], out=d_state[t]).addmm_(d_row[t], w_hh)
        back = d_known.flatten(0, 1).flatten(1)
        d_w_hh = (back.to(short.dtype).T @ before.flatten(0, 1).to(short.dtype)).to(w_hh.dtype)
        d_b_hh = back.sum(0)
        d_known[:, :, 2] = d_states[1:] * inner
        d_given = back.to(short.dtype)
        d_w_ih, d_b_ih = (d_given.T @ short.flatten(0, 1)).to(w_hh.dtype), back.sum(0)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (d_given @ w_in).to(w_hh.dtype).view_as(short).transpose(0, 1)
        return d_x, None, d_state[0], d_w_ih, d_w_hh, d_b_ih, d_b_hh, None


def last_state(gru: nn.GRU, x: Tensor, lengths: Tensor, start: Tensor, precision: torch.dtype | None = None) -> Tensor:
    """State of a one-layer ``gru`` after the last real item of each right-padded sequence, ``(D, d)``.

    ``x`` ``(D, m, d)``, ``lengths`` ``(D,)`` from 1 to m, ``start`` ``(D, d)``. ``precision`` of the products over all
    steps: by default that of ``x``; a step's own product, on which all later ones build, is in that of ``x``.
    """
    weights = (gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)
    longest = int(lengths.max())
    out: Tensor = _LastState.apply(x[:, :longest], lengths, start, *weights, precision or x.dtype)
    return out
