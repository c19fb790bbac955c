"""What is compared of an epoch, and how epochs are compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.backbones.sasrec import SASRec
from strategies.devicerec import DeviceRec
from strategies.training.data import TrainingSet
from strategies.training.ema import EVERY, Average
from strategies.training.learner import Recipe
from strategies.training.loop import EpochRecord, Trained, TrainingObserver, is_best, smoothed_ndcg, train
from strategies.training.presets import recipe_for


def epochs(*found: float) -> list[EpochRecord]:
    """Epochs with these validation NDCG@10."""
    return [EpochRecord(i + 1, 1.0, ndcg, 0.0, 0.0) for i, ndcg in enumerate(found)]


def small_model() -> nn.Module:
    """A DeviceRec of one block for 20 items."""
    generator = torch.Generator().manual_seed(0)
    return DeviceRec.learner().build(SASRec(20, 1, 5, generator), generator)


class Noted(TrainingObserver):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []

    def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
        self.events.append(("batch", step, len(records)))

    def on_epoch(self, records: Sequence[EpochRecord]) -> None:
        self.events.append(("epoch", records[-1].epoch, len(records)))


def trained_small(
    model: nn.Module, recipe: Recipe, folder: Path, observers: Sequence[TrainingObserver] = ()
) -> Trained:
    """Train it on six histories of twelve items."""
    histories = np.random.default_rng(0).integers(1, 21, (6, 12))
    data = TrainingSet(np.arange(7) * 12, histories.flatten(), np.arange(1, 7), 20)
    return train(
        DeviceRec.learner(),
        model,
        data,
        recipe,
        context=5,
        seed=0,
        device=torch.device("cpu"),
        checkpoint=folder / "checkpoint",
        observers=observers,
    )


def test_an_epoch_is_judged_with_its_two_predecessors() -> None:
    assert smoothed_ndcg(epochs(0.1, 0.3, 0.2, 0.7, 0.0)) == pytest.approx([0.2, 0.4, 0.3])
    assert smoothed_ndcg(epochs(0.1, 0.3)) == []


def test_an_epoch_is_the_best_if_its_mean_of_three_is() -> None:
    found = epochs(0.9, 0.1, 0.2, 0.3, 0.5, 0.2)  # means of three: 0.4, 0.2, 0.33, 0.33...
    assert [is_best(found[:end]) for end in range(1, 7)] == [True, True, True, False, False, False]
    found = epochs(0.9, 0.1, 0.2, 0.3, 0.8, 0.2)  # 0.4, 0.2, 0.43, 0.43...
    assert [is_best(found[:end]) for end in range(4, 7)] == [False, True, False]


def test_one_lucky_epoch_at_the_beginning_is_not_kept() -> None:
    """0.146 alone is above every mean of three that follows, and no better."""
    found = epochs(0.146, 0.145, 0.142, 0.144, 0.146)
    assert [is_best(found[:end]) for end in range(1, 6)] == [True, True, True, False, False]
    found = epochs(0.146, 0.141, 0.142, 0.145, 0.144)
    assert [is_best(found[:end]) for end in range(1, 6)] == [True, True, True, False, True]


@pytest.mark.parametrize(("patience", "most", "trained"), [(3, 60, 7), (3, 6, 6), (0, 9, 9)])
def test_the_first_epochs_do_not_count_as_epochs_without_a_better_one(
    patience: int, most: int, trained: int, tmp_path: Path
) -> None:
    standstill = Recipe(learning_rate=0.0, patience=patience, max_epochs=most, warmup_epochs=4)
    done = trained_small(small_model(), standstill, tmp_path)
    assert len(done.records) == trained
    assert done.best_epoch == (3 if patience else trained)


class Number(nn.Module):
    """One weight, and a buffer that counts."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.tensor(0))


def averaged(values: list[float], steps: int) -> Average:
    """After one look at each of these weights."""
    average = Average(Number(), 1.0, steps)
    for value in values:
        average.source.weight.data.fill_(value)
        average.source.seen.add_(1)
        for step in range(1, EVERY + 1):
            average.note(step)
    return average


def test_the_first_looks_weigh_the_same_and_later_ones_push_the_old_out() -> None:
    half = 2 * EVERY  # each look from the third on weighs one half
    assert averaged([1, 3], half).model.weight.item() == pytest.approx(2)
    assert averaged([1, 3, 6, 10], half).model.weight.item() == pytest.approx(7)  # 2 -> 4 -> 7
    assert averaged([1, 3, 5], 100 * EVERY).model.weight.item() == pytest.approx(3)


def test_epochs_of_few_steps_are_looked_at_twice_if_they_can_be() -> None:
    for steps, looks in [(1, 1), (2, 2), (3, 3), (4, 2), (7, 2), (8, 2), (100, 25)]:
        average = Average(Number(), 1.0, steps)
        for step in range(1, steps + 1):
            average.note(step)
        assert average.looks == looks


def test_a_training_of_two_steps_an_epoch_changes_the_weights_that_are_kept(tmp_path: Path) -> None:
    model = small_model()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    noted = Noted()
    trained_small(model, Recipe(batch=10, max_epochs=2), tmp_path, [noted])
    assert max(step for event, step, _ in noted.events if event == "batch") < 4
    assert all(bool((new != old).any()) for new, old in zip(model.parameters(), before, strict=True))


def test_every_observer_is_told_of_every_batch_and_every_epoch_in_order(tmp_path: Path) -> None:
    first, second = Noted(), Noted()
    model = small_model()
    done = trained_small(model, Recipe(batch=3, max_epochs=2, patience=0), tmp_path, [first, second])
    assert len(done.records) == 2
    steps = sum(event == "batch" for event, *_ in first.events) // 2
    assert steps > 1
    expected = []
    for epoch in (1, 2):  # a batch belongs to the epoch after the finished ones
        expected += [("batch", step, epoch - 1) for step in range(1, steps + 1)]
        expected.append(("epoch", epoch, epoch))
    assert first.events == expected
    assert second.events == expected


def test_what_is_no_weight_is_taken_as_it_is() -> None:
    average = averaged([1, 3], 100)
    assert int(average.model.seen) == 0
    assert average.refresh() is average.model
    assert int(average.model.seen) == 2
    assert average.source.weight.item() == 3


def test_a_restart_forgets_and_a_saved_state_goes_on() -> None:
    average = averaged([1, 3], 100)
    other = Average(average.source, 1.0, 100)
    other.load_state_dict(average.state_dict())
    average.restart()
    assert average.model.weight.item() == 3
    for each in (average, other):
        each.source.weight.data.fill_(8)
        each.note(EVERY)
    assert average.model.weight.item() == 8
    assert other.model.weight.item() == pytest.approx(4)


@pytest.mark.parametrize(
    ("protocol", "patience", "epochs"), [("stream", None, 1.0), ("paper", None, 0.0), ("paper", 8, 1.0)]
)
def test_weights_are_averaged_where_an_epoch_is_selected(protocol: str, patience: int | None, epochs: float) -> None:
    rest = dict.fromkeys(("targets", "learning_rate", "epochs", "penalty", "temperature"))
    recipe = recipe_for(protocol=protocol, backbone="sasrec", dataset="ml1m", patience=patience, memory=50, **rest)
    assert recipe.averaged == epochs


@pytest.mark.parametrize(("protocol", "short"), [("stream", True), ("paper", False)])
def test_generated_data_have_a_short_recipe_in_our_own_protocol(protocol: str, short: bool) -> None:
    rest = dict.fromkeys(("targets", "learning_rate", "epochs", "patience", "penalty", "temperature"))
    generated, real = (
        recipe_for(protocol=protocol, backbone="sasrec", dataset=dataset, memory=50, **rest)
        for dataset in ("synthetic", "of-the-user.csv")
    )
    assert (generated.max_epochs < real.max_epochs) == short
    assert (generated != real) == short
    given = rest | {"epochs": 60, "learning_rate": 0.005}
    longer = recipe_for(protocol="stream", backbone="sasrec", dataset="synthetic", memory=50, **given)
    assert (longer.max_epochs, longer.learning_rate) == (60, 0.005)


@pytest.mark.parametrize(
    ("protocol", "given", "share"), [("stream", None, 0.3), ("paper", None, 0.0), ("paper", 0.2, 0.2), ("stream", 0, 0)]
)
def test_targets_are_whole_in_the_papers_protocol(protocol: str, given: float | None, share: float) -> None:
    rest = dict.fromkeys(("targets", "learning_rate", "epochs", "patience", "penalty", "temperature"))
    recipe = recipe_for(protocol=protocol, backbone="sasrec", dataset="ml1m", memory=50, spread=given, **rest)
    assert recipe.spread == share
