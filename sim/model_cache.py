"""Training the cloud models of a run: what they learn from, and the cache that makes a second run train nothing."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from core import atomic, locks
from core.errors import Damaged, UserError
from core.run_folder import RunFolder, reason
from core.seeds import derive, torch_generator
from models.candidates import repeats
from models.checkpoint import Sizes, check_model, load_weights, read_header, save_model
from sim.config import Config
from sim.data import files
from sim.data.facts import share_of_duplicates
from sim.data.interactions import Interactions
from sim.world.streams import SHORTEST, Streams, count_before, eligible_users, live_starts
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.learner import Learner, Recipe
from strategies.training.loop import Diverged, EpochRecord, TrainingObserver, cache_key, train
from strategies.training.presets import recipe_for

log = logging.getLogger(__name__)

RETRAINING_EPOCHS = 3
"""Of a later version: it goes on from trained weights, and there is one after every few days."""


def cache_folder() -> Path:
    """Where trained models are kept: ``$SIM_CACHE_DIR``, or the user's cache folder."""
    return Path(os.environ.get("SIM_CACHE_DIR") or files.cache_folder()) / "models"


def pick_accelerator(name: str) -> torch.device:
    """The device the cloud trains on."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--accelerator cuda: PyTorch finds no CUDA device here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def training_set(interactions: Interactions, streams: Streams, config: Config, until: int | None = None) -> TrainingSet:
    """The histories and validation items that the cloud may see; nothing of the live streams.

    With ``until``, an instant in seconds, they are everything before it: the last item of each user is for validation.
    Of the devices the cloud sees what was played (:mod:`sim.world.drift` may have changed it, ``--sessions`` cut it).

    Raises :class:`UserError` if there is nothing to learn from them: a network that no step has changed is no baseline.
    """
    if interactions.num_items < 2:
        raise UserError(f"--dataset {config.dataset} has {interactions.num_items} item: there is nothing to rank")
    simulated = config.resolved_cloud_users == "simulated"
    if until is None:
        users = streams.users if simulated else eligible_users(interactions, config.protocol)
        known = live_starts(interactions, users, config.protocol)
    else:
        lengths = count_before(interactions, until)
        lengths[streams.users] = np.minimum(lengths[streams.users], streams.lengths)
        enough = np.flatnonzero(lengths >= SHORTEST[config.protocol])
        users = streams.users if simulated else enough
        known = lengths[users]
    items = np.array(interactions.items)
    played = _rows(interactions.offsets[streams.users], streams.lengths)
    items[played] = streams.items
    types = None
    if interactions.types is not None and streams.types is not None:
        types = np.array(interactions.types)
        types[played] = streams.types
    starts, history = interactions.offsets[users], known - 1
    rows = _rows(starts, history)
    offsets = np.concatenate([[0], np.cumsum(history)]).astype(np.int64)
    validation = items[starts + history].astype(np.int64)
    data = TrainingSet(
        offsets,
        items[rows],
        validation,
        interactions.num_items,
        interactions.times[rows],
        None if types is None else types[rows],
        None if types is None else types[starts + history],
        0 if types is None else int(types.max()),
    )
    if config.resolved_candidates == "unseen" and data.targets and not _new_items(data):
        raise UserError(
            f"--dataset {config.dataset}: nothing to train on, or to choose an epoch by: of the items that "
            f"{len(history):,} users' histories and validation hold, those after the first repeat earlier ones and are "
            f"no candidates; use --candidates all, or more devices{_if_duplicates(interactions)}"
        )
    if data.targets == 0:
        more = ", or --cloud-users all" if simulated else ""
        raise UserError(
            f"--dataset {config.dataset}: nothing to train on: before the interactions for validation and test, none "
            f"of the {len(history):,} users has two; give users with more interactions{more}"
        )
    return data


def _if_duplicates(interactions: Interactions) -> str:
    """What to do first where many rows are there twice."""
    share = share_of_duplicates(interactions)
    return f"; {100 * share:.1f} % of the rows are exact duplicates: remove them first" if share > 0.1 else ""


def _rows(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rows of pieces that begin at ``starts``, one piece after the other."""
    return np.concatenate([np.arange(s, s + n) for s, n in zip(starts.tolist(), counts.tolist(), strict=True)])


def _new_items(data: TrainingSet) -> bool:
    """Whether some target, and some validation item, is new to its user."""
    again = repeats(data.offsets, data.items)
    again[data.offsets[:-1][np.diff(data.offsets) > 0]] = True  # the first item of a history is no target
    pasts = (data.items[a:b] for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True))
    return not again.all() and any(item not in past for item, past in zip(data.validation, pasts, strict=True))


def recipe_of(config: Config) -> Recipe:
    """The training recipe that the options ask for."""
    return recipe_for(
        protocol=config.protocol,
        backbone=config.backbone,
        dataset=config.dataset,
        targets=config.targets,
        learning_rate=config.learning_rate,
        epochs=config.epochs,
        patience=config.patience,
        penalty=config.penalty,
        temperature=config.temperature,
        memory=config.resolved_memory,
        candidates=config.resolved_candidates,
        spread=config.spread,
    )


def given(config: Config) -> set[str]:
    """The fields of the recipe that a method would change on its own, but the options ask for."""
    options = {"learning_rate": config.learning_rate, "max_epochs": config.epochs}
    return {field for field, value in options.items() if value is not None}


def sized(recipe: Recipe, data: TrainingSet, config: Config) -> Recipe:
    """The recipe with batches that leave an epoch about forty steps, however small the data set is."""
    windows = data.targets if recipe.targets == "last" else data.targets // config.resolved_context
    return replace(recipe, batch=min(recipe.batch, max(16, windows // 40)))


def model_path(run: RunFolder, cloud_model: str, seed: int, version: int = 0) -> Path:
    """The trained model in the run folder; a later version of it (:mod:`sim.world.versions`) lies beside the first."""
    return run.models / f"{cloud_model}-{seed}{f'-v{version}' if version else ''}.safetensors"


def in_order(methods: Iterable[str]) -> list[str]:
    """The cloud models that these methods need, each once, and every teacher before its student."""
    out: dict[str, None] = {}
    for name in methods:
        cloud_model = METHODS[name].cloud_model
        teacher = METHODS[cloud_model].learner().teacher
        out.update(dict.fromkeys(in_order([teacher]) if teacher is not None else []))
        out[cloud_model] = None
    return list(out)


def train_model(
    cloud_model: str,
    data: TrainingSet,
    config: Config,
    run: RunFolder,
    seed: int,
    observers: Sequence[TrainingObserver] = (),
    say: Callable[[str], None] = log.warning,
    version: int = 0,
) -> tuple[pd.DataFrame, bool]:
    """Make sure the run folder holds the trained model; give its training log and whether it had to be trained.

    A method that learns from another one's model finds that in the run folder: see :func:`in_order`. What the cache or
    the run folder holds counts only if it is this very model, undamaged; else the model is trained again, and ``say``
    gets a line about it. A later ``version`` begins with the weights of the one before it, which the run folder holds,
    and learns from ``data`` for :data:`RETRAINING_EPOCHS`. Of several processes that need a model at
    the same time one trains it.
    """
    if version:
        key = _later_key(cloud_model, data, config, run, seed, version)
    else:
        key = model_key(cloud_model, data, config, seed)
    cached, target = cache_folder() / f"{cloud_model}-{key}.safetensors", model_path(run, cloud_model, seed, version)

    def right(path: Path, say: Callable[[str], None] = say) -> bool:
        return _is_right(path, key, cloud_model, seed, say)

    fresh = False
    if right(target):
        if not right(cached):
            with suppress(UserError):  # nothing is needed from a cache that cannot be written
                atomic.link(target, cached)
    else:
        if not right(cached):
            lock = cache_folder().parent / "locks" / f"{cached.stem}.lock"
            with locks.alone(lock, say, f"{cloud_model} is being trained"):
                fresh = not right(cached, lambda line: None)  # another process may have trained it in the meantime
                if fresh:
                    _train(cloud_model, data, config, run, seed, version, observers, say, key, cached)
        atomic.link(cached, target)
    return training_log(target, cloud_model, seed), fresh


def _is_right(path: Path, key: str, cloud_model: str, seed: int, say: Callable[[str], None]) -> bool:
    """Whether the file is there, undamaged, and the model of this key."""
    if not path.exists():
        return False
    try:
        check_model(path, key=key, method=cloud_model, seed=seed)
    except Damaged as error:
        say(f"{reason(error)}; it is not used")
        return False
    return True


def _train(
    cloud_model: str,
    data: TrainingSet,
    config: Config,
    run: RunFolder,
    seed: int,
    version: int,
    observers: Sequence[TrainingObserver],
    say: Callable[[str], None],
    key: str,
    cached: Path,
) -> None:
    """Train the model and file it in the cache; until then the state after each epoch lies beside it."""
    learner, recipe, own, sizes = _how(cloud_model, data, config, version)
    generator = torch_generator(seed, "weights", cloud_model)
    learner.study(data, seed)
    if learner.teacher is not None:
        learner.teach(model_path(run, learner.teacher, seed, version))
    parent = load_weights(model_path(run, cloud_model, seed, version - 1)) if version else None
    if parent is not None:
        learner.follow(parent)
    with torch.random.fork_rng(devices=[]):  # PyTorch's own layers draw their first weights from here
        torch.manual_seed(derive(seed, "weights", cloud_model))
        model = learner.build(sizes.build(generator), generator)
    extra: dict[str, object] = {
        "memory": recipe.memory,
        "method": cloud_model,
        "key": key,
        "seed": seed,
        "recipe": asdict(recipe) | own,
    }
    if learner.counts:
        extra["chosen"] = learner.count(model, data, recipe)
        save_model(cached, model, sizes, extra | {"best_epoch": 0, "records": []})
        return
    if parent is not None:
        model.load_state_dict(parent)
    checkpoint = cached.with_suffix(".checkpoint")
    try:
        done = train(
            learner,
            model,
            data,
            recipe,
            context=sizes.context,
            seed=derive(seed, "training", cloud_model, *([version] if version else [])),
            device=pick_accelerator(config.accelerator),
            checkpoint=checkpoint,
            key=key,
            say=say,
            observers=observers,
        )
    except Diverged as error:
        raise UserError(_how_to_mend(error, cloud_model, recipe, config, seed)) from None
    extra |= {"best_epoch": done.best_epoch, "records": [asdict(record) for record in done.records]}
    save_model(cached, model, sizes, extra)
    checkpoint.unlink(missing_ok=True)


def _how_to_mend(error: Diverged, cloud_model: str, recipe: Recipe, config: Config, seed: int) -> str:
    """The line for a training that diverged."""
    usual = recipe_of(replace(config, learning_rate=None)).learning_rate
    given = recipe_of(config).learning_rate
    rate = f"--learning-rate {usual:g}" if given > usual else f"a --learning-rate below {given:g}"
    own = [f"--{name}" for name in ("penalty", "temperature") if getattr(config, name) is not None]
    return (
        f"training {METHODS[cloud_model].title} (seed {seed}) diverged: epoch {error.epoch} ended with {error.found}, "
        f"at a learning rate of {recipe.learning_rate:g}; nothing of it is kept; try {rate}"
        + (f", or leave out {' and '.join(own)}" if own else "")
    )


def _how(
    cloud_model: str, data: TrainingSet, config: Config, version: int = 0
) -> tuple[Learner, Recipe, dict[str, float], Sizes]:
    """The learner, the recipe as it follows it, its own hyperparameters, and the sizes of its backbone."""
    learner = METHODS[cloud_model].learner()
    recipe = learner.adjust(sized(recipe_of(config), data, config), given(config))
    if version:
        learner.continues = True
        recipe = replace(recipe, max_epochs=min(RETRAINING_EPOCHS, recipe.max_epochs), patience=0)
    own = learner.configure(protocol=config.protocol, backbone=config.backbone, dataset=config.dataset)
    return learner, recipe, own, Sizes(config.backbone, data.num_items, config.resolved_blocks, config.resolved_context)


def model_key(cloud_model: str, data: TrainingSet, config: Config, seed: int) -> str:
    """Names the trained model by everything that decides what it is, its teacher included."""
    learner, recipe, own, sizes = _how(cloud_model, data, config)
    teacher = None if learner.teacher is None else model_key(learner.teacher, data, config, seed)
    return cache_key(cloud_model, data, recipe, asdict(sizes), seed, own, teacher, counts=learner.counts)


def _later_key(cloud_model: str, data: TrainingSet, config: Config, run: RunFolder, seed: int, version: int) -> str:
    """The same of a later version, which its data and the version before it decide; a reference is counted anew."""
    learner, recipe, own, sizes = _how(cloud_model, data, config, version)
    if learner.counts:
        return model_key(cloud_model, data, config, seed)

    def known(name: str, version: int) -> str:
        return str(read_header(model_path(run, name, seed, version))[1]["key"])

    teacher = None if learner.teacher is None else known(learner.teacher, version)
    parent = known(cloud_model, version - 1)
    return cache_key(cloud_model, data, recipe, asdict(sizes), seed, own, teacher, parent, learner.counts)


def training_log(path: Path, cloud_model: str, seed: int) -> pd.DataFrame:
    """One row an epoch, as ``training.csv`` holds it."""
    _, extra = read_header(path)
    records = pd.DataFrame(
        cast(list[dict[str, float]], extra["records"]), columns=[f.name for f in fields(EpochRecord)]
    )
    frame = records.rename(columns={"valid_ndcg": "valid_ndcg@10", "valid_hit": "valid_hit@10"})
    frame.insert(0, "method", cloud_model)
    frame.insert(1, "seed", seed)
    frame["best"] = frame["epoch"] == extra["best_epoch"]
    return frame
