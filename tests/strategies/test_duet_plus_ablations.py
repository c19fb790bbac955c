"""DUET+ without one of its changes: what each begins with, and what the rest of it still does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import Sizes, load_device, save_model
from models.cloud_models import AdaptiveModel, StaticModel
from models.hypernetwork import LowRankMapper, Mapper
from strategies.ablations import FullRank, NoDropout, Shared, WarmStart
from strategies.forward_ofa_plus import PlusLearner
from strategies.kinds import CONSTANTS
from strategies.registry import METHODS
from strategies.training.learner import Recipe
from strategies.training.windows import Batch

SIZES = Sizes("sasrec", 30, 3, 5)
RECIPE = Recipe(dropout=0.0)
NAMES = ("duet-plus-warm", "duet-warm", "duet-plus-no-dropout", "duet-plus-no-kinds", "duet-plus-shared")


@pytest.fixture
def devicerec(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "devicerec.safetensors"
    save_model(path, StaticModel(SIZES.build(generator), generator), SIZES, {})
    return path


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(4)
    windows, history = (torch.randint(1, 31, (6, n), generator=generator) for n in (5, 8))
    return Batch(windows, windows, history, torch.full((6,), 8))


def built(learner: PlusLearner, devicerec: Path) -> AdaptiveModel:
    """At the beginning of its training."""
    generator = torch.Generator().manual_seed(9)
    if learner.teacher is not None:
        learner.teach(devicerec)
    model = learner.build(SIZES.build(generator), generator)
    assert isinstance(model, AdaptiveModel)
    return model.train()


def states(learner: PlusLearner, model: AdaptiveModel, batch: Batch, seed: int) -> torch.Tensor:
    return learner.states(model, batch, RECIPE, torch.Generator().manual_seed(seed))[0]


def taught(path: Path, batch: Batch) -> torch.Tensor:
    """The final states of the teacher's network."""
    known = load_device(path)
    assert known.network is not None
    network = known.network
    return known.part.backbone.encode(batch.windows.unsqueeze(1), lambda k, rows: network[k])[:, 0]


@pytest.mark.parametrize("kind", [WarmStart, FullRank])
def test_with_a_warm_start_it_begins_as_devicerec(kind: type[PlusLearner], devicerec: Path, batch: Batch) -> None:
    learner = kind(controller=False)
    model = built(learner, devicerec)
    torch.testing.assert_close(states(learner, model, batch, 1), taught(devicerec, batch), rtol=1e-3, atol=1e-4)
    assert isinstance(model.mapper, Mapper if kind is FullRank else LowRankMapper)
    recipe = learner.adjust(RECIPE)
    assert (recipe.learning_rate, recipe.patience) == (RECIPE.learning_rate / 2, 3)


@pytest.mark.parametrize("kind", [PlusLearner, NoDropout, Shared])
def test_without_one_there_is_no_teacher_and_more_epochs(
    kind: type[PlusLearner], devicerec: Path, batch: Batch
) -> None:
    learner = kind(controller=False)
    assert learner.teacher is None
    assert learner.adjust(RECIPE) == replace(RECIPE, max_epochs=2 * RECIPE.max_epochs)
    assert learner.adjust(replace(RECIPE, learning_rate=0.01)).learning_rate == 0.005
    equal = replace(RECIPE, patience=0)
    assert learner.adjust(equal) == equal
    fast = replace(RECIPE, learning_rate=0.01)
    assert learner.adjust(fast, {"learning_rate", "max_epochs"}) == fast  # options are obeyed
    first = states(learner, built(learner, devicerec), batch, 1)
    assert not torch.allclose(first, taught(devicerec, batch), rtol=1e-2, atol=1e-2)


def learnt(learner: PlusLearner, devicerec: Path, batch: Batch) -> AdaptiveModel:
    """After steps towards nothing in particular, and with a mapper that knows what to do with an interest."""
    model = built(learner, devicerec)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for seed in range(4):
        optimizer.zero_grad()
        states(learner, model, batch, seed).square().sum().backward()
        optimizer.step()
    return model


@pytest.mark.parametrize(("kind", "personal"), [(PlusLearner, True), (FullRank, True), (Shared, False)])
def test_devices_differ_unless_the_mapper_reads_nothing(
    kind: type[PlusLearner], personal: bool, devicerec: Path, batch: Batch
) -> None:
    """What devices get, which always read their interest: of the shared one the same for all."""
    model = learnt(kind(controller=False), devicerec, batch).eval()
    part = model.device_part
    with torch.no_grad():
        latent = part.latent(part.embed_history(batch.history), batch.lengths, None)
        weights = model.mapper.block(1, latent)
    assert bool((weights != weights[0]).any()) == personal
    network = load_device(devicerec).network
    assert network is not None
    assert not torch.allclose(weights[0], network[1][0], atol=1e-2)


@pytest.mark.parametrize(("kind", "drawn"), [(PlusLearner, True), (FullRank, True), (NoDropout, False)])
def test_training_draws_what_is_left_out_unless_nothing_is(
    kind: type[PlusLearner], drawn: bool, devicerec: Path, batch: Batch
) -> None:
    learner = kind(controller=False)
    model = learnt(learner, devicerec, batch)
    assert torch.equal(states(learner, model, batch, 1), states(learner, model, batch, 2)) != drawn


def test_each_is_a_model_of_its_own_that_says_what_it_is() -> None:
    own = {}
    for name in ("duet-plus", *NAMES):
        learner = METHODS[name].learner()
        assert METHODS[name].cloud_model == METHODS[name].name == name
        own[name] = learner.configure(protocol="stream", backbone="sasrec", dataset="ml1m")
        assert (learner.teacher is None) == (name not in ("duet-plus-warm", "duet-warm"))
    assert own["duet-plus"] == {"history_dropout": 0.3, "interest_dropout": 0.3, "rank": 16} | CONSTANTS
    assert own["duet-plus-warm"] == own["duet-plus"]
    assert own["duet-warm"] == own["duet-plus"] | {"rank": 64}
    assert own["duet-plus-no-dropout"] == own["duet-plus"] | {"history_dropout": 0.0, "interest_dropout": 0.0}
