"""A training that diverges ends with one line, and leaves nothing that a later start would use."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import UserError
from core.seeds import torch_generator
from models.checkpoint import Sizes, save_model
from models.finite import not_finite
from models.misrecommendation import Detector, save_detector
from strategies.devicerec import StaticLearner
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.detector import Samples, train_detector
from strategies.training.learner import Learner, Recipe
from strategies.training.loop import Diverged, EpochRecord, is_best, train
from strategies.training.windows import Batch

SIZES = Sizes("sasrec", 20, 2, 5)
TRAINED = sorted({METHODS[name].cloud_model for name in METHODS if not METHODS[name].learner().counts})


def model_of(learner: Learner, folder: Path) -> nn.Module:
    """An untrained model; what it learns from is untrained too."""
    generator = torch_generator(0, "divergence")
    if learner.teacher is not None:
        path = folder / f"{learner.teacher}.safetensors"
        save_model(path, model_of(METHODS[learner.teacher].learner(), folder), SIZES, {"memory": 8})
        learner.teach(path)
    return learner.build(SIZES.build(generator), generator)


def train_six(learner: Learner, recipe: Recipe, folder: Path) -> list[EpochRecord]:
    """Train on six histories of twelve items."""
    histories = np.random.default_rng(0).integers(1, 21, (6, 12))
    data = TrainingSet(np.arange(7) * 12, histories.flatten(), np.arange(1, 7), 20)
    done = train(
        learner,
        model_of(learner, folder),
        data,
        learner.adjust(recipe, {"learning_rate"}),
        context=5,
        seed=0,
        device=torch.device("cpu"),
        checkpoint=folder / "checkpoint",
    )
    return done.records


@pytest.mark.parametrize("rate", [1e4, 1e30])
@pytest.mark.parametrize("method", TRAINED)
def test_a_learning_rate_without_measure_ends_every_training_with_one_line(
    method: str, rate: float, tmp_path: Path
) -> None:
    """At 1e4 no number overflows, but all probabilities are 0 or 1, and the loss only looks finite."""
    learner = METHODS[method].learner()
    learner.configure(protocol="stream", backbone="sasrec", dataset="synthetic")
    with pytest.raises(Diverged) as error:
        train_six(learner, Recipe(learning_rate=rate, max_epochs=8, memory=8), tmp_path)
    assert isinstance(error.value, UserError)
    assert "\n" not in str(error.value)
    assert error.value.epoch == 1 or rate < 1e30
    assert not (tmp_path / "checkpoint").exists()


class Spoilt(StaticLearner):
    """Gives states that are not finite from an epoch on: in training, in validation or both."""

    def __init__(self, epoch: int, value: float, training: bool, validation: bool) -> None:
        self.first, self.value, self.now = epoch, value, 0
        self.where = {True: training, False: validation}

    def before_epoch(self, epoch: int, recipe: Recipe) -> None:
        self.now = epoch

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        states, extra = super().states(model, batch, recipe, generator)
        if self.now >= self.first and self.where[model.training]:
            states = states + self.value
        return states, extra


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("patience", [0, 1])
def test_a_spoilt_epoch_is_neither_kept_nor_continued(value: float, patience: int, tmp_path: Path) -> None:
    recipe = Recipe(max_epochs=5, memory=8, patience=patience)
    for training, validation in ((True, False), (False, True)):
        with pytest.raises(Diverged) as error:
            train_six(Spoilt(3, value, training, validation), recipe, tmp_path)
        assert error.value.epoch == 3
        assert ("loss" in error.value.found) == training
        assert not (tmp_path / "checkpoint").exists()


class SpoiltAtTheEnd(StaticLearner):
    """Spoils the weights in a step that no further step follows."""

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The loss is finite; its gradient is not (the slope of a square root at zero)."""
        states, extra = super().states(model, batch, recipe, generator)
        return states, extra + torch.sqrt((states * 0).sum().clamp(min=0)) if model.training else extra


def test_weights_that_the_last_step_spoilt_are_found(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"weights of .* not finite"):
        train_six(SpoiltAtTheEnd(), Recipe(max_epochs=1, batch=128, memory=8), tmp_path)


def epochs(*found: float) -> list[EpochRecord]:
    return [EpochRecord(i + 1, 1.0, ndcg, 0.0, 0.0) for i, ndcg in enumerate(found)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_epoch_without_a_score_is_the_best_or_hinders_another(bad: float) -> None:
    assert not is_best(epochs(bad))
    assert not is_best(epochs(0.1, 0.2, 0.3, bad))
    found = epochs(bad, 0.1, 0.1, 0.1, 0.2)  # means of three: not finite, 0.1, 0.13
    assert [is_best(found[:end]) for end in range(1, 6)] == [False, True, True, True, True]


def test_a_model_with_weights_that_are_not_finite_is_not_written(tmp_path: Path) -> None:
    model = model_of(StaticLearner(), tmp_path)
    save_model(tmp_path / "good", model, SIZES, {})
    with torch.no_grad():
        next(iter(model.network.parameters()))[7] = math.inf  # type: ignore[union-attr]
    assert not_finite(model.state_dict()) == "network.0"
    with pytest.raises(UserError, match=r"network\.0"):
        save_model(tmp_path / "bad", model, SIZES, {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["good"]
    detector = Detector(torch.Generator())
    with torch.no_grad():
        detector.verdict.bias.fill_(math.nan)
    with pytest.raises(UserError, match=r"verdict\.bias"):
        save_detector(tmp_path / "detector", detector)
    assert not (tmp_path / "detector").exists()


def test_numbers_that_are_no_floats_are_finite() -> None:
    assert not_finite({"whole": torch.tensor([2**62]), "none": torch.zeros(0), "bool": torch.tensor([True])}) is None
    assert not_finite({"good": torch.ones(2), "half": torch.tensor([1e9]).half()}) == "half"


def test_a_detector_that_diverges_is_one_line() -> None:
    generator = torch.Generator().manual_seed(0)
    interests = torch.randn(8, 64, generator=generator) * 1e30
    samples = Samples(interests, interests.flip(0), torch.arange(1, 9), torch.rand(8, generator=generator))
    with pytest.raises(UserError, match=r"--policy mrd.* diverged.*--learning-rate") as error:
        train_detector(samples, torch.randn(21, 64, generator=generator) * 1e30, seed=0)
    assert "\n" not in str(error.value)
