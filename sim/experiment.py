"""A whole run, from raw data to tables: what :mod:`sim.run` starts and what the ServerApp executes.

Everything here can be repeated: what an earlier, killed run has finished is found in its folder or in the cache.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid
from rich.markup import escape

import analysis
from clients.evaluation import Evaluation
from core.errors import UserError, unknown
from core.run_folder import RunFolder
from core.seeds import numpy_generator
from core.threads import one_thread
from models.checkpoint import load_device
from sim import data as datasets
from sim.backends.messaging import register
from sim.backends.population import Population
from sim.config import Config
from sim.coverage import clear_devices, lists_name, save_coverage
from sim.data.facts import DataFacts, data_facts
from sim.data.interactions import Interactions
from sim.data.times import day
from sim.model_cache import model_path, training_set
from sim.observers.interrupts import Interrupts
from sim.observers.progress import Display, clock
from sim.observers.tensorboard import check_tensorboard, curves_in
from sim.play import Simulation, play, sessions_by_round
from sim.policy.setup import prepare_policy
from sim.rows import RowMaker
from sim.run_folder import describe_run, open_run
from sim.trainings import train_all
from sim.world.drift import inject, load_drift
from sim.world.fleet import Fleet
from sim.world.scenario import Scenario, load_scenario
from sim.world.streams import SHORTEST, Streams, build_streams, eligible_users, fingerprint, save, split_instant
from sim.world.versions import Versions, versions
from strategies.adaptive import AdaptiveStrategy
from strategies.base import SessionStrategy
from strategies.known_interests import KnownInterests
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.loop import keep_freed_memory
from strategies.wave import DeviceSession

STOPPING = 90.0
"""Seconds in which Flower ends a ServerApp that was told to stop: with its next heartbeat but one, 30 s each."""


@dataclass(frozen=True)
class World:
    """The data of a run and what is played of it."""

    interactions: Interactions
    streams: Streams
    scenario: Scenario
    training: TrainingSet
    """What the cloud learns from; drift changes none of it."""
    facts: DataFacts
    versions: Versions | None = None
    """Of the cloud models, where the cloud trains again."""


def _check_methods(config: Config) -> None:
    """Raise :class:`UserError` for a method whose class lacks what every method has to say."""
    for name in config.method_names:
        method = METHODS[name]
        lacking = [fact for fact in ("name", "title", "cloud_model") if not hasattr(method, fact)]
        if lacking:
            raise UserError(f"method {name}: {method.__qualname__} has no {' and no '.join(lacking)}")
        if method.cloud_model not in METHODS:
            raise UserError(f"method {name}: its cloud_model is {unknown('method', method.cloud_model, METHODS)}")
        if METHODS[method.cloud_model].learner() is None:
            raise UserError(
                f"method {name}: {METHODS[method.cloud_model].__qualname__} has no learner, by which the cloud model "
                f"{method.cloud_model} is trained; give it one, or deploy another method's cloud_model"
            )


def load_data(config: Config) -> Interactions:
    """The data set of a run."""
    return datasets.load(
        config.dataset,
        config.data_dir,
        columns=config.columns,
        ties=config.ties,
        seed=config.seed,
        users=config.devices,
    )


def prepare(config: Config, interactions: Interactions | None = None) -> tuple[RunFolder, World]:
    """Check the options against the data, make the run folder and the devices' own disks in it.

    ``interactions`` is what :func:`load_data` gave, where another run of the same data has called it before.
    """
    config.check()
    if config.tensorboard:
        check_tensorboard()
    scenario = load_scenario(config.scenario)
    drift = load_drift(config.drift)
    _check_methods(config)
    _check_precision(config, scenario)
    if config.compare_stale and not any(METHODS[name].adapts for name in config.method_names):
        raise UserError(f"--compare-stale: none of {', '.join(config.method_names)} adapts; leave it out")
    run = open_run(config)
    if interactions is None:
        interactions = load_data(config)
    if config.sampled >= interactions.num_items:
        raise UserError(
            f"--evaluate {config.evaluate}: {config.dataset} has {interactions.num_items:,} items, too few to draw "
            f"{config.sampled:,} others from; use a smaller number"
        )
    instant = split_instant(interactions) if config.split == "time" else None
    able = eligible_users(interactions, config.protocol, instant)
    if config.devices > len(able):
        where = "" if instant is None else f" before {day(instant)}, where time is split, and one from then on"
        raise UserError(
            f"--devices {config.devices}: {config.dataset} has only {len(able)} users (of {interactions.num_users}) "
            f"with at least {SHORTEST[config.protocol]} interactions{where}, as a device needs"
        )
    chosen = numpy_generator(config.seed, "devices").choice(len(able), config.devices, replace=False)
    streams = build_streams(
        interactions,
        able[np.sort(chosen)],
        protocol=config.protocol,
        session_length=config.session_length,
        session_gap_minutes=config.session_gap,
        sessions=config.sessions,
        instant=instant,
    )
    streams = inject(streams, interactions, drift, config.seed, instant)
    training = training_set(interactions, streams, config, instant)
    again = None if config.retrain is None or instant is None else versions(streams, instant, config.retrain)
    facts = data_facts(
        interactions,
        streams,
        training.items,
        training.times,
        able=len(able),
        needed=SHORTEST[config.protocol],
        ties=config.ties,
        candidates=config.resolved_candidates,
        session_gap=config.session_gap,
        session_length=config.session_length,
        instant=instant,
    )
    world = World(interactions, streams, scenario, training, facts, again)
    _begin(run, config, world, drift.description)
    return run, world


def _check_precision(config: Config, scenario: Scenario) -> None:
    """Raise :class:`UserError` if a method needs devices that compute in single precision, and others are there."""
    others = [tier for tier in scenario.tiers if tier.bits != 32]
    names = [name for name in config.method_names if METHODS[name].single]
    if others and names:
        raise UserError(
            f"--scenario {config.scenario}: tier {others[0].name} has bits = {others[0].bits}, and {names[0]} runs in "
            f"32 alone ({METHODS[names[0]].single}); leave {', '.join(names)} out of --methods, or give the tier "
            "bits = 32"
        )
    if others and config.delivery != "weights":
        raise UserError(
            f"--delivery {config.delivery}: tier {others[0].name} of --scenario {config.scenario} has bits = "
            f"{others[0].bits}, and devices make networks in 32 alone; use --delivery weights, or give the tier "
            "bits = 32"
        )


def _begin(run: RunFolder, config: Config, world: World, drift: str) -> None:
    """Write into the folder what this run is, and its devices' disks; or check that it is the one begun there."""
    interactions, streams = world.interactions, world.streams
    data: dict[str, object] = {
        "users": interactions.num_users,
        "items": interactions.num_items,
        "interactions": interactions.num_interactions,
        "name": interactions.name,
        "mean_length": round(interactions.mean_length, 4),
        "sparsity": round(interactions.sparsity, 6),
        "events": streams.num_events,
        "sessions": streams.num_sessions,
        "content": interactions.fingerprint(),
        "streams": fingerprint(streams),
        "scenario": world.scenario.description,
        "drift": drift,
    }
    if run.begun:
        run.check_data(data)
    if not run.world.exists() or not run.begun:
        save(streams, run.world, config.identity())
    elif not run.sessions.exists():
        run.check_world()
    if not run.begun:
        describe_run(run, config, data, world.facts.table())


def tell_data(world: World, display: Display) -> None:
    """Say what the data are and what they say about the results."""
    for line in world.facts.lines():
        display.say(escape(line))
    for line in world.facts.warnings:
        display.warn(line)


def execute(
    config: Config, grid: Grid, display: Display | None = None, prepared: tuple[RunFolder, World] | None = None
) -> None:
    """Run everything: prepare, train, play, summarise. What the ServerApp does, on every backend.

    ``prepared`` is what :func:`prepare` gave for ``config``, where this process has called it before.
    """
    display = display or Display(quiet=config.quiet)
    started = time.monotonic()
    run, world = prepared or prepare(config)
    tell_data(world, display)
    finished = run.sessions.exists()
    phases = (1 if config.retrain is None else 2) + config.seeds + 1
    with (
        run.held(0.0 if config.superlink is None else STOPPING),
        display.open(describe(config), phases=1 if finished else phases),
    ):
        if not finished:
            train_all(config, run, world, display)
            population = Population(grid, register(grid, config.devices, config.supernodes), config.devices)
            bits = world.scenario.bits(config.devices, config.seed)
            device_sessions = sessions_by_round(
                world.streams, population.addresses, config.resolved_candidates, world.versions, bits
            )
            keep_freed_memory()  # training has done it; where all models were in the cache, nothing has
            with one_thread():  # training takes as many as there are
                play_all(config, run, world, device_sessions, population, display)
            rows = run.gather(config.seed_list, config.method_names, len(device_sessions))
            if config.uploads:
                run.finish_uploads(config.seed_list, config.method_names, len(device_sessions))
            fleet = Fleet(world.streams, world.scenario, config.seed)
            items, delivery = world.interactions.num_items, config.resolved_delivery
            save_coverage(run, rows, items, display.warn, bits, fleet, delivery)
            run.finish(rows)
            clear_devices(run)
        display.phase("drawing figures and report")
        analysis.build_report(run.path)
    display.say(f"finished in {clock(time.monotonic() - started)}: {run.path}")


def play_all(
    config: Config,
    run: RunFolder,
    world: World,
    device_sessions: dict[int, list[DeviceSession]],
    population: Population,
    display: Display,
) -> None:
    """Play the streams with every method and seed."""
    fleet, again = Fleet(world.streams, world.scenario, config.seed), world.versions
    rows_of = RowMaker(fleet, config.resolved_candidates, retrains=again is not None)
    with curves_in(run.path, config.tensorboard) as curves:
        for seed in config.seed_list:
            works = {
                name: display.playing(METHODS[name].title, world.streams.num_sessions) for name in config.method_names
            }
            display.phase(f"playing the sessions{_of_seeds(config, seed)}", list(works.values()))
            for name, work in works.items():
                method = METHODS[name]
                with display.doing(work):
                    model = model_path(run, method.cloud_model, seed)
                    later = [
                        model_path(run, method.cloud_model, seed, k)
                        for k in range(1, 1 if again is None else len(again))
                    ]
                    strategy = method(model, device_sessions, later, config.resolved_delivery)
                    _teach_interests(strategy, config, world)
                    policy_setup = prepare_policy(
                        config,
                        run,
                        world.interactions,
                        world.streams,
                        method,
                        model,
                        seed,
                        display.warn,
                        since=None if again is None else again.since,
                    )
                    # Of a federation's devices nobody collects what they note.
                    lists = "" if config.superlink is not None else lists_name(seed, name)
                    evaluation = Evaluation(config.sampled, lists)
                    play(
                        strategy,
                        population,
                        run,
                        rows_of,
                        Simulation(
                            fleet,
                            seed,
                            policy_setup,
                            evaluation,
                            oracle=method.oracle,
                            upload=config.upload_form,
                            keeps_uploads=config.uploads,
                        ),
                        observers=[Interrupts(), work, *curves.playing(name, seed)],
                        say=display.warn,
                    )


def _teach_interests(strategy: SessionStrategy, config: Config, world: World) -> None:
    """Give the cloud what it knows of latent interests, where it has to estimate what devices do not send."""
    form = config.upload_form
    if isinstance(strategy, AdaptiveStrategy) and (form.noise or not form.latent):
        part = load_device(strategy.model).part
        strategy.known_interests = KnownInterests(part, world.training, config.resolved_memory, form)


def describe(config: Config) -> str:
    """A run in a few words."""
    return f"{Path(config.dataset).name}, {config.devices:,} devices, {config.backbone}, {config.folder.name}"


def _of_seeds(config: Config, seed: int) -> str:
    return f", seed {seed} ({seed - config.seed + 1} of {config.seeds})" if config.seeds > 1 else ""
