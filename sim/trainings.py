"""The trainings of a run: every cloud model that its methods deploy, with every seed, and its later versions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import pandas as pd

from core import atomic, schema
from core.run_folder import RunFolder
from sim.config import Config
from sim.model_cache import RETRAINING_EPOCHS, given, in_order, recipe_of, train_model, training_set
from sim.observers.interrupts import Interrupts
from sim.observers.progress import Display, Expected, epochs_expected
from sim.observers.tensorboard import curves_in
from sim.side_by_side import Job, Say, how_many, side_by_side
from sim.world.versions import Versions
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.loop import EpochRecord, GoingOn, TrainingObserver

if TYPE_CHECKING:
    from sim.experiment import World


def train_all(config: Config, run: RunFolder, world: "World", display: Display) -> None:
    """Train every cloud model that the methods of this run deploy, or find it in the cache."""
    needs, data = _jobs(config), world.training
    for seed, reference in product(config.seed_list, _needed(config, counted=True)):
        train_model(reference, data, config, run, seed, say=display.warn)
    works = {job: display.training(job.title, _expected(job.cloud_model, config)) for job in needs}
    display.phase("training the cloud models", list(works.values()))

    def train(job: Job, observers: Sequence[TrainingObserver], say: Say) -> pd.DataFrame:
        log, fresh = train_model(job.cloud_model, data, config, run, job.seed, observers, say)
        for observer in observers:
            observer.on_end(_records(log), fresh)
        return log

    with curves_in(run.path, config.tensorboard) as curves:

        @contextmanager
        def watched(job: Job) -> Iterator[Sequence[TrainingObserver]]:
            with display.doing(works[job]):
                yield [Interrupts(), works[job], *curves.training(job.cloud_model, job.seed)]

        count = how_many(config, len(needs), data.targets * recipe_of(config).max_epochs)
        logs = side_by_side(needs, train, watched, display.warn, count)
    if logs:  # references are counted
        in_turn = pd.concat([logs[job] for job in needs], ignore_index=True)
        atomic.write(run.path / "training.csv", in_turn.to_csv(index=False))
    if world.versions is not None:
        _train_again(config, run, world, world.versions, display)


def _needed(config: Config, counted: bool) -> list[str]:
    """The cloud models of a run that are counted, or those that are trained; every teacher before its student."""
    return [name for name in in_order(config.method_names) if METHODS[name].learner().counts == counted]


def _jobs(config: Config) -> dict[Job, list[Job]]:
    """The trainings of a run, seed after seed, each with those that it needs."""
    jobs: dict[Job, list[Job]] = {}
    for seed in config.seed_list:
        of_seed = f", seed {seed}" if config.seeds > 1 else ""
        mine = {name: Job(name, seed, METHODS[name].title + of_seed) for name in _needed(config, counted=False)}
        for name, job in mine.items():
            teacher = METHODS[name].learner().teacher
            jobs[job] = [] if teacher is None else [mine[teacher]]
    return jobs


def _train_again(config: Config, run: RunFolder, world: "World", versions: Versions, display: Display) -> None:
    """Train the later versions of every cloud model, each from what lies before its instant; log them apart."""
    needs, later = _jobs(config), range(1, len(versions))

    def known(version: int) -> TrainingSet:
        return training_set(world.interactions, world.streams, config, int(versions.instants[version]))

    for version in later:
        data = known(version)
        for seed, reference in product(config.seed_list, _needed(config, counted=True)):
            train_model(reference, data, config, run, seed, (), display.warn, version)
    works = {job: display.training(job.title, lambda records: RETRAINING_EPOCHS * len(later)) for job in needs}
    display.phase("training them again as time goes on", list(works.values()))

    def train(job: Job, observers: Sequence[TrainingObserver], say: Say) -> list[pd.DataFrame]:
        logs: list[pd.DataFrame] = []
        before: list[EpochRecord] = []
        some = False
        for version in later:
            data, told = known(version), [GoingOn(observer, before) for observer in observers]
            log, fresh = train_model(job.cloud_model, data, config, run, job.seed, told, say, version)
            before, some = [*before, *_records(log)], some or fresh
            until = int(versions.instants[version])
            logs.append(log.assign(version=version, until=until, interactions=len(data.items)))
        for observer in observers:
            observer.on_end(before, some)
        return logs

    @contextmanager
    def watched(job: Job) -> Iterator[Sequence[TrainingObserver]]:
        with display.doing(works[job]):
            yield [Interrupts(), works[job]]

    targets = known(1).targets * RETRAINING_EPOCHS * len(later) if later else 0
    logs = side_by_side(needs, train, watched, display.warn, how_many(config, len(needs), targets))
    in_turn = [
        logs[job][version - 1] for seed in config.seed_list for version in later for job in needs if job.seed == seed
    ]
    empty = pd.DataFrame(columns=schema.names(schema.RETRAINING))
    table = pd.concat(in_turn, ignore_index=True)[list(empty)] if in_turn else empty
    atomic.write(run.path / "retraining.csv", table.to_csv(index=False))


def _expected(cloud_model: str, config: Config) -> Expected:
    """Give the guess of how many epochs the training of a model takes."""
    learner = METHODS[cloud_model].learner()
    recipe = learner.adjust(recipe_of(config), given(config))
    return partial(epochs_expected, recipe, learner.search_epochs(recipe))


def _records(log: pd.DataFrame) -> list[EpochRecord]:
    """The rows of a training log as training gave them."""
    columns = ("epoch", "loss", "valid_ndcg@10", "valid_hit@10", "seconds")
    return [EpochRecord(*row) for row in zip(*(log[name].tolist() for name in columns), strict=True)]
