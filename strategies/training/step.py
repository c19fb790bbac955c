"""One step of training with Adam: the batch in two shares, one processor each where there are two.

Two threads that share every small operation wait for each other most of the time; two that each have half of the
windows, and then half of the weights to change, meet twice a step. The shares are the same however many processors
there are, and so are the numbers.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from core.seeds import derive, torch_generator
from core.threads import pool, threads
from models.device_part import DevicePart
from models.kernels.dropout import drawing_from
from models.kernels.precision import product_type
from models.kernels.softmax_loss import full_softmax_loss
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch

SHARES = 2
SMALLEST = 16
"""Windows of a share: a batch with fewer than two of these is not divided."""


class Stepper:
    """Takes training steps; :meth:`working` first."""

    def __init__(self, learner: Learner, model: nn.Module, recipe: Recipe) -> None:
        """``model`` on the device on which it will be trained."""
        self.learner, self.model, self.recipe = learner, model, recipe
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizers = [
            torch.optim.Adam(self.parameters[share::SHARES], lr=recipe.learning_rate, fused=True)
            for share in range(SHARES)
        ]
        self.pool: ThreadPoolExecutor | None = None
        self.generators: list[torch.Generator] = []

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, each share has its own thread, and each thread its part of the processors."""
        before = torch.get_num_threads()
        workers = min(SHARES, threads())
        if workers == 1 or self.parameters[0].device.type != "cpu":
            yield
            return
        each = max(1, before // workers)
        torch.set_num_threads(each)  # here too: threads that have helped once go on looking for work
        with pool(workers, each) as self.pool:
            try:
                yield
            finally:
                self.pool = None
                torch.set_num_threads(before)

    def seed(self, seed: int, epoch: int) -> None:
        """What is random in an epoch's steps follows from these two."""
        self.generators = [torch_generator(seed, "steps", epoch, share) for share in range(SHARES)]
        torch.manual_seed(derive(seed, "dropout", epoch))  # what an accelerator's dropout draws from

    def __call__(self, batch: Batch) -> tuple[float, int]:
        """Change the model by one batch; the mean loss over its targets, and how many there are."""
        shares = divide(batch, SHARES if self.learner.divisible and batch.windows.device.type == "cpu" else 1)
        self.learner.before_step(self.model)
        targets = int((batch.targets > 0).sum())
        whole = len(batch.windows), targets
        work = self.pool.map if self.pool is not None else map
        found = list(work(self._gradients, shares, [whole] * len(shares), self.generators))
        list(work(self._change, range(SHARES), [[gradients for _, gradients in found]] * SHARES))
        return sum(loss for loss, _ in found), targets

    def state_dict(self) -> list[dict[str, Any]]:
        """The optimisers', for a checkpoint."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for optimizer, mine in zip(self.optimizers, state, strict=True):
            optimizer.load_state_dict(mine)

    def _change(self, share: int, found: list[tuple[Tensor | None, ...]]) -> None:
        """Change a share of the parameters by the sum of the gradients that were ``found``."""
        for parameter, *gradients in zip(
            self.parameters[share::SHARES], *(g[share::SHARES] for g in found), strict=True
        ):
            parts = [gradient for gradient in gradients if gradient is not None]
            for other in parts[1:]:
                parts[0].add_(other)
            parameter.grad = parts[0] if parts else None
        self.optimizers[share].step()

    def _gradients(
        self, share: Batch, whole: tuple[int, int], generator: torch.Generator
    ) -> tuple[float, tuple[Tensor | None, ...]]:
        """Loss and gradients of a share, in proportion to the ``whole`` batch's windows and targets."""
        with drawing_from(generator):
            states, extra = self.learner.states(self.model, share, self.recipe, generator)
        bears, wanted, seen, spread = share.bearing
        part = self.model.device_part
        assert isinstance(part, DevicePart)
        weights = wanted.new_full((len(wanted),), 1 / max(whole[1], 1), dtype=states.dtype)
        precision = product_type(wanted.device)
        loss = full_softmax_loss(states[bears], part.backbone.items, wanted, weights, precision, seen, spread)
        total = loss + extra * (len(share.windows) / whole[0])
        return float(loss.detach()), torch.autograd.grad(total, self.parameters, allow_unused=True)


def divide(batch: Batch, shares: int) -> list[Batch]:
    """The windows in as many parts of equal size, or all in one if there are few."""
    rows = len(batch.windows)
    if rows < shares * SMALLEST:
        return [batch]
    each = -(-rows // shares)
    return [batch.part(slice(start, start + each)) for start in range(0, rows, each)]
