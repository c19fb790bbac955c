"""The mean of a model's weights over the last steps: what is validated and deployed, in place of the last step's.

An exponential moving average (Polyak and Juditsky 1992, in this form Tarvainen and Valpola 2017). At a learning rate
that is high enough to get anywhere soon, the weights of a single step are noise around something better.

``torch.optim.swa_utils.AveragedModel`` gives the same weights, but takes over buffers when it looks and not when it is
asked, starts with one wrapper more in every name of a checkpoint, and would save eight lines.
"""

import copy
from typing import Any

import torch
from torch import nn

EVERY = 4
"""Steps of an epoch from one look at the weights to the next: as good as every step, at a quarter of the cost. Where
there are few steps, more often: twice an epoch at least."""


class Average:
    """A copy of ``model`` whose parameters are its running mean."""

    def __init__(self, model: nn.Module, epochs: float, steps: int) -> None:
        """``epochs``: over about how many the mean goes; ``steps`` of one of them."""
        self.source, self.model = model, copy.deepcopy(model)
        self.every, self.looks = max(1, min(EVERY, steps // 2)), 0
        self.weight = min(self.every / (epochs * steps), 1.0)

    @torch.no_grad()
    def note(self, step: int) -> None:
        """Look at the weights if ``step`` (of the epoch, the first is 1) is due; the first looks all weigh the same."""
        if step % self.every == 0:
            self.looks += 1
            torch._foreach_lerp_(
                list(self.model.parameters()), list(self.source.parameters()), max(self.weight, 1 / self.looks)
            )

    @torch.no_grad()
    def refresh(self) -> nn.Module:
        """The averaged model, with everything that is not a weight as it is in the original now."""
        for mine, other in zip(self.model.buffers(), self.source.buffers(), strict=True):
            mine.copy_(other)
        return self.model

    def restart(self) -> None:
        """Forget all weights before these."""
        self.model.load_state_dict(self.source.state_dict())
        self.looks = 0

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "looks": self.looks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.looks = state["looks"]
