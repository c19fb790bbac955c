"""Kinds of users: found in histories of known kinds, and taught by the loss that a hand computes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import Sizes, load_weights, save_model
from models.device_part import DevicePart
from strategies.ablations import NoKinds
from strategies.forward_ofa_plus import PlusLearner
from strategies.kinds import OWN_ITEMS, Kinds, change_interest, others_items
from strategies.training.data import TrainingSet
from strategies.training.kinds import KINDS, kinds_of_users
from strategies.training.windows import Batch, WindowCutter

ITEMS = 24
SIZES = Sizes("sasrec", ITEMS, 2, 5)


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
    assert learner.others(batch, torch.Generator()) is None
    read = [one.history(batch, None, torch.Generator().manual_seed(3)) for one in (learner, plain)]
    assert torch.equal(*read)


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
    size, lengths = 40, torch.tensor([40, 5, 40, 3] * 100)
    rows = torch.arange(1, size + 1) + 100 * torch.arange(len(lengths))[:, None]
    history = torch.where(torch.arange(size) < lengths[:, None], rows, 0)
    others = others_items(lengths, size, 0.5, torch.Generator().manual_seed(1))
    assert not others_items(lengths, size, 0.0, torch.Generator()).any()
    changed = change_interest(history, others)
    assert torch.equal(changed[others], history.roll(1, 0)[others])
    assert torch.equal(changed[~others], history[~others])
    assert (others.any(dim=1).float().mean() - 0.5).abs() < 0.1  # a row may keep all of its items by chance
    assert (others == (others.long().cummin(dim=1).values == 1)).all()  # the older part only, as one piece
    own = (lengths - others.sum(dim=1))[others.any(dim=1)]
    of = lengths[others.any(dim=1)]
    assert {size: (int(own[of == size].min()), int(own[of == size].max())) for size in (40, 5, 3)} == {
        40: (0, OWN_ITEMS),  # with none, the user changes after the device has asked
        5: (0, 4),
        3: (0, 2),
    }


def test_the_lesson_is_the_cross_entropy_of_the_kinds_weighted_by_certainty() -> None:
    # The certainties are 1, 2 / 3 (of log 8, log 2 is a third) and 0.
    kinds = Kinds(torch.tensor([[1.0] + [0.0] * 7, [0.5, 0.5] + [0.0] * 6, [0.125] * 8]))
    history, lengths = torch.tensor([[1, 2], [4, 0], [5, 6]]), torch.tensor([2, 1, 2])
    batch = Batch(history, history, history, lengths, users=torch.arange(3))
    latents, own = torch.zeros(3, 2, 64), torch.zeros(3, 2, dtype=torch.bool)
    latents[1, 0, 0] = 0.5  # times 4 is a logit of 2
    latents[1, 1] = 9.0  # in padding, which nobody is asked about
    even, most = math.log(8), math.exp(2) + 7
    second = 2 / 3 * (0.5 * (math.log(most) - 2) + 0.5 * math.log(most))
    # After the last item of three rows, and after all five items.
    expected = (even + second + 0) / 3 + (2 * even + second + 2 * 0) / 5
    assert float(kinds.lesson(latents, batch, own)) == pytest.approx(expected, rel=1e-5)
    twice = kinds.lesson(torch.cat([latents, latents]), batch, own)  # Forward-OFA+ runs every window twice
    assert float(twice) == pytest.approx(expected, rel=1e-5)
    others = own.clone()
    others[2, 0] = True  # the first item of the third row is the second user's: kinds 0 and 1, certain to 2 / 3
    expected += 2 / 3 * even / 5
    assert float(kinds.lesson(latents, batch, others)) == pytest.approx(expected, rel=1e-5)


def test_an_extractor_learns_to_notice_a_change() -> None:
    """After a lesson on whole histories and on changed ones: the kind that is told after three items of the new one."""
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=240)
    data = histories(true, 30, rng)
    kinds = Kinds.found_in(data, 0)
    assert kinds is not None
    torch.manual_seed(2)  # of the extractor's first weights
    generator = torch.Generator().manual_seed(0)
    part = DevicePart(SIZES.build(generator), controller=False, interest=True, pairs=True)
    cutter = WindowCutter(data, context=5, history_length=20, targets="session", batch=64, seed=0)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.01)
    for epoch in range(1, 9):
        for batch in cutter.batches(epoch):
            others = others_items(batch.lengths, 20, 0.5, generator)
            embedded = part.embed_history(change_interest(batch.history, others))
            _, latents = part.read(embedded, batch.lengths, None)
            optimizer.zero_grad()
            kinds.lesson(latents, batch, others).backward()
            optimizer.step()
    rows = torch.from_numpy(data.items.reshape(240, 30).astype(np.int64))
    read = torch.cat([rows.roll(1, 0)[:, :16], rows[:, -4:]], dim=1)  # three pairs of its own after another's
    with torch.no_grad():
        told = part.latent(part.embed_history(read), torch.full((240,), 20), None)[:, :KINDS].argmax(dim=1)
    groups = torch.from_numpy(kinds.groups)
    other = groups != groups.roll(1)
    assert float((told == groups)[other].float().mean()) > 0.7
    assert float((told == groups.roll(1))[other].float().mean()) < 0.2


def test_certainty_is_one_less_the_share_of_the_largest_entropy() -> None:
    rng = np.random.default_rng(0)
    kinds = Kinds.found_in(histories(rng.integers(3, size=60), 30, rng), 0)
    assert kinds is not None
    chances = kinds.chances.double().numpy()
    entropy = -np.sum(np.where(chances > 0, chances * np.log(np.maximum(chances, 1e-300)), 0), axis=1)
    assert kinds.certainty.numpy() == pytest.approx(1 - entropy / np.log(8), abs=1e-5)


def saved(path: Path, learner: PlusLearner) -> Path:
    """A model as its training begins, in a file."""
    generator = torch.Generator().manual_seed(1)
    save_model(path, learner.build(SIZES.build(generator), generator), SIZES, {})
    return path


def test_students_and_later_versions_read_as_the_model_that_they_go_on_from(tmp_path: Path) -> None:
    """Whatever histories show: the weights of an extractor that reads pairs fit no other one."""
    rng = np.random.default_rng(0)
    several, alike = (histories(kinds, 30, rng) for kinds in (rng.integers(3, size=90), np.zeros(90, dtype=np.int64)))
    generator = torch.Generator().manual_seed(0)
    for data, pairs in ((several, True), (alike, False)):
        learner = PlusLearner(controller=False)
        learner.study(data, 0)
        duet_plus = saved(tmp_path / f"duet-plus-{pairs}.safetensors", learner)
        parent = load_weights(duet_plus)
        assert ("device_part.interest.turn.weight" in parent) == pairs
        for other in (several, alike):
            later, student = PlusLearner(controller=False), PlusLearner(controller=True)
            later.continues = True
            for one in (later, student):
                one.study(other, 0)
            later.follow(parent)
            later.build(SIZES.build(generator), generator).load_state_dict(parent)
            student.teach(duet_plus)
            student.build(SIZES.build(generator), generator)  # it begins with the teacher's extractor
            assert later.pairs == student.pairs == pairs


def test_where_there_are_kinds_followers_are_of_one_kind() -> None:
    rng = np.random.default_rng(0)
    learner, without = PlusLearner(controller=False), NoKinds(controller=False)
    for one in (learner, without):
        one.study(histories(rng.integers(3, size=90), 30, rng), 0)
    assert learner.spread is not None
    assert learner.groups is not None
    assert learner.kinds is not None
    assert (learner.groups == learner.kinds.chances.numpy().argmax(axis=1)).all()
    assert (without.spread, without.groups, without.kinds) == (None, None, None)
