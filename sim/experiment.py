"""A whole run, from raw data to tables: what :mod:`sim.run` starts and what the ServerApp executes.

Everything here can be repeated: what an earlier, killed run has finished is found in its folder or in the cache.
"""

import time
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from flwr.serverapp import Grid

import analysis
from models.seeds import numpy_generator
from sim import data as datasets
from sim.asking import open_desk
from sim.cloud import in_order, model_path, recipe_of, train_model, training_set
from sim.config import Config
from sim.data.interactions import Interactions
from sim.drift import inject, load_drift
from sim.errors import UserError
from sim.exchange import register
from sim.fleet import Fleet
from sim.play import RowMaker, play, seats_by_round
from sim.progress import Display
from sim.rundir import RunFolder, write_text
from sim.scenario import Scenario, load_scenario
from sim.streams import Protocol, Streams, build_streams, eligible_users, save
from strategies.base import Seat
from strategies.registry import METHODS
from strategies.training import EpochRecord


@dataclass(frozen=True)
class World:
    """The data of a run and what is played of it."""

    interactions: Interactions
    streams: Streams
    scenario: Scenario


def prepare(config: Config) -> tuple[RunFolder, World]:
    """Check the options against the data, make the run folder and the devices' own disks in it."""
    config.check()
    scenario = load_scenario(config.scenario)
    drift = load_drift(config.drift)
    run = RunFolder.open(config)
    interactions = datasets.load(config.dataset, config.data_dir)
    protocol = cast(Protocol, config.protocol)
    able = eligible_users(interactions, protocol)
    if config.devices > len(able):
        raise UserError(
            f"--devices {config.devices}: {config.dataset} has only {len(able)} users with enough interactions"
        )
    chosen = numpy_generator(config.seed, "devices").choice(len(able), config.devices, replace=False)
    streams = build_streams(
        interactions,
        able[np.sort(chosen)],
        protocol=protocol,
        session_length=config.session_length,
        session_gap_minutes=config.session_gap,
        sessions=config.sessions,
    )
    streams = inject(streams, interactions, drift, config.seed)
    run.path.mkdir(parents=True, exist_ok=True)
    if not (run.path / "config.toml").exists():
        save(streams, run.world)
        run.describe(
            config,
            {
                "users": interactions.num_users,
                "items": interactions.num_items,
                "interactions": interactions.num_interactions,
                "mean_length": round(interactions.mean_length, 4),
                "sparsity": round(interactions.sparsity, 6),
                "events": streams.num_events,
                "sessions": streams.num_sessions,
                "scenario": scenario.description,
                "drift": drift.description,
            },
        )
    return run, World(interactions, streams, scenario)


def train_all(config: Config, run: RunFolder, world: World, display: Display) -> None:
    """Train every cloud model that the methods of this run deploy, or find it in the cache."""
    data = training_set(world.interactions, world.streams, config)
    logs = []
    for seed in config.seed_list:
        for cloud_model in in_order(config.method_names):
            title = f"train {cloud_model}" + (f" (seed {seed})" if config.seeds > 1 else "")
            with display.task(title, total=1) as task:

                def on_batch(step: int, steps: int, records: list[EpochRecord]) -> None:
                    best = max((r.valid_ndcg for r in records), default=0.0)
                    epoch = len(records)
                    note = f"epoch {epoch + 1}, best validation NDCG@10 {best:.4f}"
                    task.update(epoch + step / steps, note, total=_epochs_expected(config, records))

                log, fresh = train_model(cloud_model, data, config, run, seed, on_batch)
                task.update(len(log), "trained" if fresh else "from the cache", total=len(log))
            logs.append(log)
    write_text(run.path / "training.csv", pd.concat(logs, ignore_index=True).to_csv(index=False))


def execute(config: Config, grid: Grid, display: Display | None = None) -> None:
    """Run everything: prepare, train, play, summarise. What the ServerApp does, on every backend."""
    display = display or Display(quiet=config.quiet)
    started = time.monotonic()
    run, world = prepare(config)
    if not run.sessions.exists():
        train_all(config, run, world, display)
        seats = seats_by_round(world.streams, register(grid, config.devices))
        play_all(config, run, world, seats, grid, display)
        run.finish(run.gather(config.seed_list, config.method_names, len(seats)))
    analysis.build_report(run.path)
    display.say(f"finished in {time.monotonic() - started:.0f} s: {run.path}")


def play_all(
    config: Config, run: RunFolder, world: World, seats: dict[int, list[Seat]], grid: Grid, display: Display
) -> None:
    """Play the streams with every method and seed."""
    rows_of = RowMaker(Fleet(world.streams, world.scenario, config.seed))
    total = world.streams.num_sessions
    for seed in config.seed_list:
        for name in config.method_names:
            method = METHODS[name]
            model = model_path(run, method.cloud_model, seed)
            strategy = method(model, run.world, seats, seed)
            desk = open_desk(config, run, world.interactions, world.streams, method, model, seed)
            title = f"play {name}" + (f" (seed {seed})" if config.seeds > 1 else "")
            with display.task(title, total=total) as task:
                sums = np.zeros(3)

                def on_round(server_round: int, rows: pd.DataFrame) -> None:
                    sums[:] += (len(rows), rows["events"].sum(), rows["ndcg"].sum())  # noqa: B023
                    note = f"NDCG@10 {sums[2] / max(sums[1], 1):.4f}"  # noqa: B023
                    task.update(sums[0], note)  # noqa: B023

                play(strategy, grid, run, rows_of, seed=seed, desk=desk, on_round=on_round)


def _epochs_expected(config: Config, records: list[EpochRecord]) -> int:
    """A guess for the estimate: the last improvement plus the patience, at least a few epochs more."""
    recipe = recipe_of(config)
    if recipe.patience == 0 or not records:
        return recipe.max_epochs
    best = max(records, key=lambda record: record.valid_ndcg).epoch
    return min(recipe.max_epochs, max(best + recipe.patience, len(records) + 1))
