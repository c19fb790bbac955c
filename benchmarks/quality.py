"""How long training takes to a given quality: DeviceRec beside the SASRec of RecBole and of RecTools.

    python -m benchmarks.quality
    python -m benchmarks.quality --values 0.08 0.1 --epochs 40 --out quality.csv

All train on the same histories with a softmax over all items, one epoch of each in turn, so that other work on the
machine meets all alike. After each epoch the last item of every history is ranked by the same code among the same
candidates. Seconds are those of the epochs, this validation included; building models and data sets is not timed. What
is not the same is what each has chosen itself, and is printed: learning rate, batch, and what a window teaches.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

import tyro

from benchmarks.trees import check_places
from core.cli import run as run_command
from core.errors import UserError


@dataclass(frozen=True)
class Options:
    """Measure how long training takes to a given quality, beside the SASRec of RecBole and of RecTools."""

    values: tuple[float, ...] = (0.08, 0.1, 0.12)
    """of validation NDCG@10, which are to be reached"""
    epochs: int = 40
    """most of each contender; it ends earlier where it has reached all values, or has ended by itself"""
    users: int = 1000
    """whose histories are trained on"""
    context: int = 10
    """items that the backbone reads"""
    blocks: int = 6
    """of the backbone"""
    candidates: Literal["unseen", "all"] = "unseen"
    """which items are ranked in validation, and by the loss of DeviceRec; the loss of the others ranks all"""
    learning_rate: float | None = None
    """of all contenders (default: each its own)"""
    threads: int = 0
    """0: as many as there are processors"""
    seed: int = 0
    """of everything that is random"""
    data_dir: Path | None = None
    """folder with MovieLens-1M, in place of $SIM_DATA_DIR; with neither, the embedded data set"""
    out: Path | None = None
    """CSV file with a line for each epoch"""

    def check(self) -> "Options":
        """Raise :class:`UserError` for the first option that cannot be."""
        for option in ("epochs", "users", "context", "blocks"):
            if getattr(self, option) < 1:
                raise UserError(f"--{option} is {getattr(self, option)}; it must be at least 1")
        if not self.values or not all(0 < value <= 1 for value in self.values):
            raise UserError(f"--values {' '.join(map(str, self.values))}: give values of NDCG@10 above 0 and up to 1")
        if self.threads < 0:
            raise UserError(f"--threads is {self.threads}; it must be at least 0")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise UserError(f"--learning-rate is {self.learning_rate}; it must be between 0 and 1")
        check_places(self.out)
        return self


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import pandas as pd
import torch
from torch import Tensor

from benchmarks.data import histories_of
from benchmarks.machine import cores
from benchmarks.peers import Peer, peers
from core.seeds import torch_generator
from models.checkpoint import Sizes
from models.metrics import ndcg, ranks
from sim.config import Config
from sim.data.files import ENVIRONMENT_VARIABLE
from sim.model_cache import given, recipe_of, sized
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.learner import Recipe
from strategies.training.loop import VALIDATION_BATCH, EpochRecord, TrainingObserver, keep_freed_memory, train
from strategies.training.windows import WindowCutter

METHOD = "devicerec"


@dataclass(frozen=True)
class Epoch:
    """One more epoch of a contender."""

    seconds: float
    """It took, its validation included."""
    ndcg: float
    """Validation NDCG@10 after it."""


class Trainee(Protocol):
    """Something that trains epoch by epoch."""

    title: str
    defaults: str
    """How it trains: what it has chosen itself."""

    def epoch(self) -> Epoch | None:
        """Train one more epoch; None where its training has ended by itself."""
        ...


class _OneEpoch(TrainingObserver):
    """Ends a training that has done one more epoch."""

    class Done(Exception):
        """With the record of the epoch."""

        def __init__(self, record: EpochRecord) -> None:
            self.record = record

    def on_epoch(self, records: Sequence[EpochRecord]) -> None:
        raise self.Done(records[-1])


class Ours:
    """DeviceRec as a run trains it, which goes on from its checkpoint for each epoch."""

    def __init__(self, data: TrainingSet, config: Config, folder: Path) -> None:
        """``folder`` keeps the checkpoint."""
        strategy, generator = METHODS[METHOD], torch_generator(config.seed, "weights", METHOD)
        self.title, self.data, self.context, self.seed = strategy.title, data, config.resolved_context, config.seed
        self.learner = strategy.learner()
        self.recipe = self.learner.adjust(sized(recipe_of(config), data, config), given(config))
        self.model = self.learner.build(sizes_of(config, data).build(generator), generator)
        self.checkpoint = folder / "checkpoint"
        self.defaults = (
            f"learning rate {self.recipe.learning_rate:g}, {self.recipe.batch} windows a step, "
            f"{self.recipe.spread:.0%} of each target spread over what often follows, the loss ranks "
            f"{self.recipe.candidates} items, weights averaged over {self.recipe.averaged:g} epochs"
        )

    def epoch(self) -> Epoch | None:
        try:
            train(
                self.learner,
                self.model,
                self.data,
                self.recipe,
                context=self.context,
                seed=self.seed,
                device=torch.device("cpu"),
                checkpoint=self.checkpoint,
                observers=[_OneEpoch()],
            )
        except _OneEpoch.Done as done:
            return Epoch(done.record.seconds, done.record.valid_ndcg)
        return None


class Other:
    """A peer, whose epoch are as many of its own steps as it takes for each target once."""

    def __init__(self, peer: Peer, data: TrainingSet, cutter: WindowCutter) -> None:
        self.peer, self.targets, self.cutter = peer, data.targets, cutter
        self.title, self.defaults = peer.title, f"{peer.defaults}, the loss ranks all items"

    def epoch(self) -> Epoch:
        started, trained = time.perf_counter(), 0
        with self.peer.working():
            while trained < self.targets:
                trained += self.peer.step().targets
        gain = validate(self.peer.scores, self.cutter)
        return Epoch(time.perf_counter() - started, gain)


@torch.no_grad()
def validate(scores: Callable[[Tensor], Tensor], cutter: WindowCutter) -> float:
    """NDCG@10 of the validation items among the candidates, by what ``scores`` gives for the windows before them."""
    found = []
    for batch, _ in cutter.validation(VALIDATION_BATCH):
        wanted = batch.targets[:, -1]
        there = wanted > 0
        given = scores(batch.windows[there]).contiguous()  # items are excluded in place
        if batch.seen is not None:
            batch.seen[:, -1][there].exclude(given)
        found.append(ranks(given, wanted[there]))
    return float(ndcg(torch.cat(found)).mean())


def race(
    trainees: Sequence[Trainee], values: Sequence[float], epochs: int, note: Callable[[pd.DataFrame], None]
) -> pd.DataFrame:
    """Train all, one epoch of each in turn, until each has reached the largest of the ``values`` or has ended.

    One row an epoch, with the seconds of all epochs of this contender so far; ``note`` gets what there is after each.
    """
    going, spent = list(trainees), dict.fromkeys((one.title for one in trainees), 0.0)
    rows: list[dict[str, str | int | float]] = []
    for number in range(1, epochs + 1):
        for one in list(going):
            if (found := one.epoch()) is None:
                going.remove(one)
                continue
            spent[one.title] += found.seconds
            rows.append(
                {"contender": one.title, "epoch": number, "seconds": spent[one.title], "valid_ndcg@10": found.ndcg}
            )
            note(pd.DataFrame(rows))
            if found.ndcg >= max(values):
                going.remove(one)
    return pd.DataFrame(rows)


def reached(rows: pd.DataFrame, values: Sequence[float]) -> pd.DataFrame:
    """One row a contender: epochs, seconds of one, best quality, and the seconds until each of the ``values``; NaN
    where it was not reached."""
    table = []
    for title, mine in rows.groupby("contender", sort=False):
        line = {"contender": title, "epochs": len(mine), "s an epoch": mine["seconds"].max() / len(mine)}
        line["best NDCG@10"] = mine["valid_ndcg@10"].max()
        for value in values:
            line[f"s to {value:g}"] = mine.loc[mine["valid_ndcg@10"] >= value, "seconds"].min()
        table.append(line)
    return pd.DataFrame(table)


def sizes_of(config: Config, data: TrainingSet) -> Sizes:
    """Of the network that all train."""
    return Sizes(config.backbone, data.num_items, config.resolved_blocks, config.resolved_context)


def benchmark(options: Options) -> pd.DataFrame:
    """All epochs of all contenders, which are printed and written as they come."""
    keep_freed_memory()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads or cores())
    real = options.data_dir is not None or os.environ.get(ENVIRONMENT_VARIABLE)
    config = Config(
        cloud_users="simulated",
        dataset="ml1m" if real else "synthetic",
        data_dir=options.data_dir,
        devices=options.users,
        context=options.context,
        blocks=options.blocks,
        candidates=options.candidates,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    data = histories_of(config)
    print(
        f"{config.dataset}: {len(data.validation)} users, {data.num_items} items, {data.targets} targets an epoch; "
        f"{options.blocks} blocks, windows of {options.context} items, {options.candidates} items are candidates in "
        f"validation; {torch.get_num_threads()} thread(s)"
    )
    rate, recipe = options.learning_rate, Recipe()
    cutter = WindowCutter(
        data,
        context=options.context,
        history_length=options.context,
        targets="session",
        batch=recipe.batch,
        seed=options.seed,
        candidates=options.candidates,
    )
    with TemporaryDirectory() as folder:
        trainees: list[Trainee] = [Ours(data, config, Path(folder))]
        others = peers(data, sizes_of(config, data), recipe, options.seed, print, checked=[False], rate=rate)
        trainees += [Other(peer, data, cutter) for peer in others]
        for one in trainees:
            print(f"{one.title}: {one.defaults}")

        def note(rows: pd.DataFrame) -> None:
            last = rows.iloc[-1]
            print(
                f"{last['contender']}, epoch {last['epoch']}: NDCG@10 {last['valid_ndcg@10']:.4f} after "
                f"{last['seconds']:,.1f} s",
                flush=True,
            )
            if options.out is not None:
                rows.to_csv(options.out, index=False, float_format="%.5g")

        return race(trainees, options.values, options.epochs, note)


def main() -> int:
    """Exit status: 0 done, 2 for what the user can mend."""
    options = tyro.cli(Options, description=__doc__)
    return run_command(lambda: _run(options.check()))


def _run(options: Options) -> None:
    found = reached(benchmark(options), options.values)
    print(found.to_string(index=False, float_format="{:,.4g}".format))


if __name__ == "__main__":
    sys.exit(main())
