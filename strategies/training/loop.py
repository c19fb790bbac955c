"""How a cloud model is trained: Adam, full softmax, early stopping on the validation item; resumable at any epoch."""

import ctypes
import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import Damaged, UserError
from models.device_part import DevicePart
from models.finite import not_finite
from models.metrics import hits, ndcg, ranks
from strategies.training.checkpoint import load_checkpoint, save_checkpoint
from strategies.training.data import TrainingSet
from strategies.training.ema import Average
from strategies.training.learner import Learner, Recipe
from strategies.training.step import Stepper
from strategies.training.windows import WindowCutter

log = logging.getLogger(__name__)

CODE_VERSION = 11
"""Part of every cache key: raise it when a change to models or training changes what training gives."""

VALIDATION_BATCH = 256

IMPOSSIBLE = -0.9 * math.log(torch.finfo(torch.float32).tiny)
"""A loss above this is infinite in all but name: nearly every target of the step has a probability that single
precision rounds to 0, whose logarithm :mod:`models.kernels.softmax_loss` cuts off."""

SMOOTHED_EPOCHS = 3
"""Epochs in the mean by which they are compared."""


@dataclass(frozen=True)
class EpochRecord:
    """One line of the training log."""

    epoch: int
    loss: float
    valid_ndcg: float
    valid_hit: float
    seconds: float


class TrainingObserver:
    """Is told how the training of one model gets on; a subclass overrides what it uses."""

    def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
        """Step ``step`` of ``steps`` was taken in the epoch that comes after ``records``."""

    def on_epoch(self, records: Sequence[EpochRecord]) -> None:
        """An epoch has ended and its state is saved; the last of ``records`` is its own."""

    def on_end(self, records: Sequence[EpochRecord], fresh: bool) -> None:
        """The model is there, after these epochs; ``fresh``: it was trained now, else it was found in a cache."""


class GoingOn(TrainingObserver):
    """Tells an observer of a training that goes on with a model of the epochs ``before`` as well."""

    def __init__(self, observer: TrainingObserver, before: Sequence[EpochRecord]) -> None:
        self._observer, self._before = observer, before

    def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
        self._observer.on_batch(step, steps, [*self._before, *records])

    def on_epoch(self, records: Sequence[EpochRecord]) -> None:
        self._observer.on_epoch([*self._before, *records])


class Diverged(UserError):
    """A training gave a loss, a weight or a score that is not finite; its checkpoint is removed."""

    def __init__(self, epoch: int, found: str) -> None:
        """``found`` in the epoch (the first is 1): "a loss of nan", say."""
        super().__init__(f"training diverged: epoch {epoch} ended with {found}; try a lower learning rate")
        self.epoch, self.found = epoch, found


@dataclass(frozen=True)
class Trained:
    """What training gave."""

    records: list[EpochRecord]
    best_epoch: int


def train(
    learner: Learner,
    model: nn.Module,
    data: TrainingSet,
    recipe: Recipe,
    *,
    context: int,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    key: str = "",
    say: Callable[[str], None] = log.warning,
    observers: Sequence[TrainingObserver] = (),
) -> Trained:
    """Train ``model`` in place and leave the best epoch's weights in it.

    After every epoch the whole state goes to ``checkpoint``; a training that finds one there continues from it and ends
    with the same numbers, because all randomness is derived from (seed, epoch). A checkpoint that is damaged or not of
    ``key``, which names the model, is not used, and ``say`` gets a line about it. ``observers`` are told of
    every batch and every epoch; that the model is there (``on_end``) is told by who needs it, trained or not.

    Raises :class:`Diverged` with the first loss, weight or validation score that is not finite; a loss above
    :data:`IMPOSSIBLE` counts as one.
    """
    keep_freed_memory()
    cutter = WindowCutter(
        data,
        context=context,
        history_length=recipe.memory,
        candidates=recipe.candidates,
        spread=recipe.spread if learner.spread is None else learner.spread,
        targets=recipe.targets,
        batch=recipe.batch,
        seed=seed,
        groups=learner.groups,
    )
    model.to(device)
    take = Stepper(learner, model, recipe)
    steps, search = cutter.count(), learner.search_epochs(recipe)
    average = Average(model, recipe.averaged, steps) if recipe.averaged else None
    records: list[EpochRecord] = []
    best: dict[str, Tensor] = {}
    best_epoch = 0
    if (state := _found(checkpoint, key, device, say)) is not None:
        model.load_state_dict(state["model"])
        take.load_state_dict(state["optimizers"])
        if average is not None:
            average.load_state_dict(state["average"])
        records = [EpochRecord(**record) for record in state["records"]]
        best, best_epoch = state["best"], state["best_epoch"]

    def require(finite: bool, found: str) -> None:
        if not finite:
            checkpoint.unlink(missing_ok=True)
            raise Diverged(len(records) + 1, found)

    while len(records) < recipe.ends(best_epoch, search):
        epoch = len(records) + 1
        started = time.perf_counter()
        learner.before_epoch(epoch, recipe)
        model.train()
        total, seen = 0.0, 0
        take.seed(seed, epoch)
        with take.working():
            for step, batch in enumerate(cutter.batches(epoch), start=1):
                loss, count = take(batch.to(device))
                require(math.isfinite(loss) and loss < IMPOSSIBLE, f"a loss of {loss:g}")
                if average is not None:
                    average.note(step)
                total, seen = total + loss * count, seen + count
                for observer in observers:
                    observer.on_batch(step, max(steps, step), records)
        wrong = not_finite(model.state_dict())  # a last step may spoil the weights after its own loss was good
        require(wrong is None, f"weights of {wrong} that are not finite")
        learner.after_epoch(model, epoch, recipe)
        if average is not None and epoch == search:
            average.restart()
        judge = model if average is None else average.refresh()
        with learner.deployed(judge, (batch.to(device) for batch, _ in cutter.validation(VALIDATION_BATCH))):
            hit, gain = validate(learner, judge, cutter, recipe, device)
            require(math.isfinite(gain), "validation scores that are not finite")
            records.append(EpochRecord(epoch, total / max(seen, 1), gain, hit, time.perf_counter() - started))
            counted = records[search:]
            if counted and (recipe.patience == 0 or is_best(counted)):
                best_epoch = epoch
                best = {name: value.detach().clone() for name, value in judge.state_dict().items()}
        state = {"model": model.state_dict(), "optimizers": take.state_dict(), "best": best}
        state |= {"best_epoch": best_epoch, "records": [asdict(record) for record in records]}
        save_checkpoint(checkpoint, key, state if average is None else state | {"average": average.state_dict()})
        for observer in observers:
            observer.on_epoch(records)

    model.load_state_dict(best)
    _part(model).popularity.copy_(popularity_ranks(data))
    model.to("cpu")
    return Trained(records, best_epoch)


def smoothed_ndcg(records: list[EpochRecord]) -> list[float]:
    """Validation NDCG@10 by which epochs are compared, of the third and all later ones: the mean of the last three.

    One item a device is a noisy judge: with 1,000 devices, epochs of the same quality differ by three percent.
    """
    found = [record.valid_ndcg for record in records]
    return [sum(found[end - SMOOTHED_EPOCHS : end]) / SMOOTHED_EPOCHS for end in range(SMOOTHED_EPOCHS, len(found) + 1)]


def is_best(records: list[EpochRecord]) -> bool:
    """Whether the last of these epochs is better than all before it; each of the first three passes for that.

    A model that begins well would else be kept for a single lucky epoch: the fewer in a mean, the more it scatters. An
    epoch whose score is not finite is never the best, and never stands in the way of another one.
    """
    if not math.isfinite(records[-1].valid_ndcg):
        return False
    scores = [score if math.isfinite(score) else -math.inf for score in smoothed_ndcg(records)]
    return len(scores) < 2 or scores[-1] > max(scores[:-1])


@torch.no_grad()
def validate(
    learner: Learner, model: nn.Module, cutter: WindowCutter, recipe: Recipe, device: torch.device
) -> tuple[float, float]:
    """Hit@10 and NDCG@10 of the validation items, ranked among the candidates by the networks a device would get.

    Both are NaN if a score is not finite: such a model ranks nothing.
    """
    model.eval()
    found: list[Tensor] = []
    for batch, _ in cutter.validation(VALIDATION_BATCH):
        batch = batch.to(device)
        states, _ = learner.states(model, batch, recipe, torch.Generator())
        wanted = batch.targets[:, -1]
        there = wanted > 0
        scores = _part(model).backbone.score(states[there, -1])
        if not scores.isfinite().all():
            return math.nan, math.nan
        if batch.seen is not None:
            batch.seen[:, -1][there].exclude(scores)
        found.append(ranks(scores, wanted[there]))
    rank = torch.cat(found)
    return float(hits(rank).mean()), float(ndcg(rank).mean())


def popularity_ranks(data: TrainingSet) -> Tensor:
    """Rank of each item by how often the histories hold it, ``(num_items + 1,)``; ties by item id, padding last."""
    counts = np.bincount(data.items, minlength=data.num_items + 1)[1:]
    order = np.argsort(-counts, kind="stable")
    out = np.full(data.num_items + 1, data.num_items + 1, dtype=np.int32)
    out[order + 1] = np.arange(1, data.num_items + 1)
    return torch.from_numpy(out)


def cache_key(
    method: str,
    data: TrainingSet,
    recipe: Recipe,
    sizes: dict[str, object],
    seed: int,
    own: dict[str, float] | None = None,
    teacher: str | None = None,
    parent: str | None = None,
    counts: bool = False,
) -> str:
    """Names a trained model by everything that decides what it is.

    ``own`` are the method's own hyperparameters, ``teacher`` is the name of the model that it learns from, ``parent``
    of the one whose weights it begins with. A model that ``counts`` (:attr:`Learner.counts`) also depends on when each
    item was interacted with and, where types of users are known, on those; training never sees either.
    """
    digest = hashlib.sha256()
    facts = {"method": method, "recipe": asdict(recipe), "sizes": sizes, "seed": seed, "code": CODE_VERSION}
    if own:
        facts["own"] = own
    if teacher:
        facts["teacher"] = teacher
    if parent:
        facts["parent"] = parent
    digest.update(json.dumps(facts, sort_keys=True).encode())
    known = [one for one in (data.times, data.types, data.validation_types) if counts and one is not None]
    known += [np.array([data.num_types])] * bool(counts and data.num_types)
    for array in (data.offsets, data.items, data.validation, *known):
        digest.update(np.ascontiguousarray(array).astype(np.int64).tobytes())
    return digest.hexdigest()[:24]


def keep_freed_memory() -> None:
    """Ask glibc to reuse freed memory: fresh pages for every batch cost a quarter of the time."""
    if sys.platform == "linux":
        mmap_max, trim_threshold = -4, -1
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(mmap_max, 0)
            libc.mallopt(trim_threshold, 2**31 - 4096)


def _part(model: nn.Module) -> DevicePart:
    part = model.device_part
    assert isinstance(part, DevicePart)
    return part


def _found(path: Path, key: str, device: torch.device, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The state of an earlier, killed training; None if there is none, or none to be believed."""
    if not path.exists():
        return None
    try:
        return load_checkpoint(path, key, device)
    except Damaged as error:
        say(f"{str(error).rsplit('; ', 1)[0]}; training starts again with the first epoch")
        return None
