"""A training step divided among threads is the step that it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.seeds import torch_generator
from models.checkpoint import Sizes
from models.kernels.dropout import drawing_from, dropout
from models.kernels.softmax_loss import full_softmax_loss
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.learner import Recipe
from strategies.training.step import SHARES, Stepper, divide
from strategies.training.windows import Batch, WindowCutter

RECIPE = Recipe(batch=64, memory=12)


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(0)
    data = TrainingSet(np.arange(0, 41 * 30, 30), rng.integers(1, 60, 40 * 30), rng.integers(1, 60, 40), 60)
    cutter = WindowCutter(data, context=10, history_length=12, targets="session", batch=64, seed=0)
    return next(cutter.batches(1))


def stepper(method: str, recipe: Recipe = RECIPE) -> Stepper:
    learner = METHODS[method].learner()
    generator = torch_generator(0, "test")
    torch.manual_seed(0)  # PyTorch's own layers draw their first weights from it
    model = learner.build(Sizes("sasrec", 60, 2, 10).build(generator), generator).train()
    take = Stepper(learner, model, recipe)
    take.seed(0, 1)
    return take


@pytest.mark.parametrize("method", ["devicerec", "forward-ofa", "gater", "rare-gem", "litepred"])
def test_the_numbers_are_the_same_on_one_processor_and_on_two(method: str, batch: Batch) -> None:
    found = []
    for threads in (1, 2):
        take, before = stepper(method), torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with take.working():
                assert (take.pool is None) == (threads == 1)
                losses = [take(batch)[0] for _ in range(3)]
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        found.append([losses, take.model.state_dict()])
    (losses, weights), (others, same) = found
    assert losses == others
    assert losses[2] < losses[0]
    for name, value in weights.items():
        assert torch.equal(value, same[name]), name


def test_shares_together_have_the_gradient_of_the_batch(batch: Batch) -> None:
    """Without dropout, against autograd on the whole batch at once."""
    take = stepper("devicerec", replace(RECIPE, dropout=0.0))
    states, _ = take.learner.states(take.model, batch, take.recipe, torch.Generator())
    bears = batch.targets > 0
    items = take.model.device_part.backbone.items  # type: ignore[union-attr]
    loss = full_softmax_loss(states[bears], items, batch.targets[bears])
    expected = torch.autograd.grad(loss, take.parameters)
    got, targets = take(batch)
    assert targets == int(bears.sum())
    assert got == pytest.approx(float(loss), rel=1e-2)
    for parameter, gradient in zip(take.parameters, expected, strict=True):
        assert parameter.grad is not None
        assert float((parameter.grad - gradient).norm() / gradient.norm()) < 3e-2


def test_a_batch_is_divided_without_losing_a_window(batch: Batch) -> None:
    shares = divide(batch, SHARES)
    assert [len(share.windows) for share in shares] == [32, 32]
    assert torch.equal(torch.cat([share.targets for share in shares]), batch.targets)
    few = Batch(*(x[:31] for x in (batch.windows, batch.targets, batch.history, batch.lengths)))
    assert divide(few, SHARES) == [few]


def test_dropout_draws_from_the_generator_it_is_given() -> None:
    x = torch.ones(1_000)
    state = torch.get_rng_state()
    with drawing_from(torch_generator(0, "test")):
        first = dropout(x, 0.5)
    with drawing_from(torch_generator(0, "test")):
        assert torch.equal(first, dropout(x, 0.5))
    assert torch.equal(state, torch.get_rng_state())  # the global generator was left alone
    assert not torch.equal(first, dropout(x, 0.5))
