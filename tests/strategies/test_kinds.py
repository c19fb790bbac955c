"""Kinds of users: found in histories of known kinds, and taught by the loss that a hand computes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import Sizes, load_weights, save_model
from models.cloud_models import StaticModel
from strategies.ablations import NoKinds
from strategies.forward_ofa_plus import PlusLearner
from strategies.kinds import Kinds, change_interest
from strategies.training.data import TrainingSet
from strategies.training.kinds import KINDS, kinds_of_users
from strategies.training.windows import WindowCutter

ITEMS = 24


def histories(kinds: np.ndarray, length: int, rng: np.random.Generator) -> TrainingSet:
    """A user of kind k goes on by 5 k + 3 items around a ring, but for one step in five, which is anywhere."""
    rows = np.zeros((len(kinds), length), dtype=np.int64)
    rows[:, 0] = rng.integers(ITEMS, size=len(kinds))
    for step in range(1, length):
        following = (rows[:, step - 1] + 5 * kinds + 3) % ITEMS
        rows[:, step] = np.where(rng.random(len(kinds)) < 0.2, rng.integers(ITEMS, size=len(kinds)), following)
    offsets = np.arange(len(kinds) + 1) * length
    return TrainingSet(offsets, rows.ravel() + 1, np.ones(len(kinds), dtype=np.int64), ITEMS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_users_of_one_kind_are_found_together_without_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=90)
    found = kinds_of_users(histories(true, 30, rng), seed)
    assert found is not None
    assert found.sum(axis=1) == pytest.approx(1)
    assert found.max(axis=1).mean() > 0.95  # and for certain
    together = sum(np.bincount(true[found.argmax(axis=1) == kind], minlength=3).max() for kind in range(KINDS))
    assert together >= 86  # by chance about 40


@pytest.mark.parametrize("users", [90, 300])
def test_histories_without_kinds_show_none(users: int) -> None:
    """All users go on alike: nobody is put into a kind, and DUET+ trains as if none were looked for."""
    alike = histories(np.zeros(users, dtype=np.int64), 30, np.random.default_rng(0))
    assert kinds_of_users(alike, 0) is None
    learner, plain = PlusLearner(controller=False), NoKinds(controller=False)
    learner.study(alike, 0)
    assert (learner.kinds, learner.pairs) == (None, False)
    cutter = WindowCutter(alike, context=4, history_length=8, targets="session", batch=16, seed=0)
    batch = next(cutter.batches(1))
    read = [one.history(batch, torch.Generator().manual_seed(3)) for one in (learner, plain)]
    assert torch.equal(*read)
    assert learner.interest_dropout == plain.interest_dropout
    assert float(learner.lesson(torch.ones(16, 64), batch)) == 0


@pytest.mark.parametrize("users", [90, 300])
def test_long_tails_are_no_kinds(users: int) -> None:
    """Everybody draws from one distribution with many rare items: tables of a few users explain no more than all's."""
    rng = np.random.default_rng(1)
    shares = 1 / np.arange(1, 401)
    drawn = rng.choice(400, size=(users, 40), p=shares / shares.sum()) + 1
    data = TrainingSet(np.arange(users + 1) * 40, drawn.ravel(), np.ones(users, dtype=np.int64), 400)
    assert kinds_of_users(data, 0) is None


def test_a_user_without_history_may_be_of_any_kind() -> None:
    rng = np.random.default_rng(0)
    data = histories(rng.integers(3, size=90), 30, rng)
    one_more = TrainingSet(np.append(data.offsets, data.offsets[-1]), data.items, np.ones(91, dtype=np.int64), ITEMS)
    found = kinds_of_users(one_more, 0)
    assert found is not None
    possible = found[-1][found[-1] > 0]
    assert possible == pytest.approx(1 / len(possible))
    assert kinds_of_users(TrainingSet(np.array([0, 0]), np.zeros(0), np.ones(1), ITEMS), 0) is None


def test_a_changed_history_ends_with_its_own_items() -> None:
    """Row r holds items 100 r + 1, 2, ...: what a changed one begins with is the row before's, at the same places."""
    size, lengths = 8, torch.tensor([8, 5, 8, 3] * 50)
    rows = torch.arange(1, size + 1) + 100 * torch.arange(len(lengths))[:, None]
    history = torch.where(torch.arange(size) < lengths[:, None], rows, 0)
    changed = change_interest(history, lengths, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(change_interest(history, lengths, 0.0, torch.Generator()), history)
    last = (lengths - 1)[:, None]
    assert torch.equal(changed.gather(1, last), history.gather(1, last))
    other = changed != history
    assert torch.equal(changed[other], history.roll(1, 0)[other])
    assert (other.any(dim=1).float().mean() - 0.5).abs() < 0.15  # a row may keep all of its items by chance
    assert (other == (other.long().cummin(dim=1).values == 1)).all()  # the older part only, as one piece
    assert not other[torch.arange(size) >= lengths[:, None]].any()


def test_the_lesson_is_the_cross_entropy_of_the_kinds_weighted_by_certainty() -> None:
    # The certainties are 1, 2 / 3 (of log 8, log 2 is a third) and 0.
    kinds = Kinds(torch.tensor([[1.0] + [0.0] * 7, [0.5, 0.5] + [0.0] * 6, [0.125] * 8]))
    data = TrainingSet(
        np.array([0, 2, 4, 6]), np.array([1, 2, 3, 4, 5, 6]), np.array([7, 8, 9], dtype=np.int64), num_items=9
    )
    cutter = WindowCutter(data, context=2, history_length=4, targets="session", batch=8, seed=0)
    batch, users = next(cutter.validation(8))
    assert batch.users is not None
    assert batch.users.tolist() == users.tolist() == [0, 1, 2]
    latent = torch.zeros(3, 64)
    latent[1, 0] = 0.5  # times 4 is a logit of 2
    most = math.exp(2) + 7
    expected = (math.log(8) + 2 / 3 * (0.5 * (math.log(most) - 2) + 0.5 * math.log(most))) / 3
    assert float(kinds.lesson(latent, batch)) == pytest.approx(expected, rel=1e-5)
    twice = kinds.lesson(torch.cat([latent, latent]), batch)  # Forward-OFA+ runs every window twice
    assert float(twice) == pytest.approx(expected, rel=1e-5)


def test_certainty_is_one_less_the_share_of_the_largest_entropy() -> None:
    rng = np.random.default_rng(0)
    kinds = Kinds.found_in(histories(rng.integers(3, size=60), 30, rng), 0)
    assert kinds is not None
    chances = kinds.chances.double().numpy()
    entropy = -np.sum(np.where(chances > 0, chances * np.log(np.maximum(chances, 1e-300)), 0), axis=1)
    assert kinds.certainty.numpy() == pytest.approx(1 - entropy / np.log(8), abs=1e-5)


SIZES = Sizes("sasrec", ITEMS, 2, 5)


def saved(path: Path, learner: PlusLearner, teacher: Path) -> Path:
    """A model as its training begins, in a file."""
    generator = torch.Generator().manual_seed(1)
    learner.teach(teacher)
    save_model(path, learner.build(SIZES.build(generator), generator), SIZES, {})
    return path


def test_students_and_later_versions_read_as_the_model_that_they_go_on_from(tmp_path: Path) -> None:
    """Whatever histories show: the weights of an extractor that reads pairs fit no other one."""
    rng = np.random.default_rng(0)
    several, alike = (histories(kinds, 30, rng) for kinds in (rng.integers(3, size=90), np.zeros(90, dtype=np.int64)))
    generator = torch.Generator().manual_seed(0)
    devicerec = tmp_path / "devicerec.safetensors"
    save_model(devicerec, StaticModel(SIZES.build(generator), generator), SIZES, {})
    for data, pairs in ((several, True), (alike, False)):
        learner = PlusLearner(controller=False)
        learner.study(data, 0)
        duet_plus = saved(tmp_path / f"duet-plus-{pairs}.safetensors", learner, devicerec)
        parent = load_weights(duet_plus)
        assert ("device_part.interest.turn.weight" in parent) == pairs
        for other in (several, alike):
            later, student = PlusLearner(controller=False), PlusLearner(controller=True)
            later.continues = True
            for one in (later, student):
                one.study(other, 0)
            later.teach(devicerec)
            later.follow(parent)
            later.build(SIZES.build(generator), generator).load_state_dict(parent)
            student.teach(duet_plus)
            student.build(SIZES.build(generator), generator)  # it begins with the teacher's extractor
            assert later.pairs == student.pairs == pairs


def test_where_there_are_kinds_less_is_left_out_and_followers_are_of_one_kind() -> None:
    rng = np.random.default_rng(0)
    learner, without = PlusLearner(controller=False), NoKinds(controller=False)
    for one in (learner, without):
        one.study(histories(rng.integers(3, size=90), 30, rng), 0)
    assert learner.history_dropout < without.history_dropout
    assert learner.interest_dropout < without.interest_dropout
    assert learner.spread is not None
    assert learner.groups is not None
    assert learner.kinds is not None
    assert (learner.groups == learner.kinds.chances.numpy().argmax(axis=1)).all()
    assert (without.spread, without.groups, without.kinds) == (None, None, None)
