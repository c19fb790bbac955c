"""The peers of the benchmarks: what they train on and what they score, where they are installed."""

import math
import sys

import numpy as np
import pytest
import torch

from benchmarks.data import ML1M_ITEMS, made_up
from benchmarks.peers import MISSING, RecBoleSASRec, RecToolsSASRec, peer_macs, peers, pieces, score_macs
from models.checkpoint import Sizes
from strategies.training.data import TrainingSet
from strategies.training.learner import Recipe

SIZES = Sizes("sasrec", ML1M_ITEMS, 2, 10)
Peer = RecBoleSASRec | RecToolsSASRec


@pytest.fixture(scope="module")
def one_user() -> TrainingSet:
    """A history of 21 items: 20 targets."""
    data = made_up(1, 0)
    return TrainingSet(np.array([0, 21]), data.items[:21], data.validation, ML1M_ITEMS)


@pytest.fixture(params=["recbole", "rectools"])
def peer(request: pytest.FixtureRequest, one_user: TrainingSet) -> Peer:
    pytest.importorskip(request.param)
    torch.manual_seed(0)
    kind: type[Peer] = {"recbole": RecBoleSASRec, "rectools": RecToolsSASRec}[request.param]
    return kind(one_user, SIZES, Recipe(), 0)


def test_a_window_takes_six_linear_layers_a_block() -> None:
    # one more than ours (an output projection), attention, and the padding item is scored
    assert peer_macs(6, 20) + score_macs(3_011) == 6 * (6 * 20 * 4_096 + 2 * 400 * 64) + 3_012 * 64


def test_a_peer_that_is_missing_is_left_out_with_a_line(monkeypatch: pytest.MonkeyPatch, one_user: TrainingSet) -> None:
    for name in ("recbole", "rectools", "recbole.data.interaction", "rectools.dataset"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    said: list[str] = []
    assert peers(one_user, SIZES, Recipe(), 0, said.append) == []
    assert [line.split(" (")[0] for line in said] == [
        MISSING.format(name).split(" (")[0] for name in ("RecBole", "RecTools")
    ]


def test_pieces_hold_every_target_once(one_user: TrainingSet) -> None:
    columns = pytest.importorskip("rectools").Columns
    items = np.arange(1, 37)
    data = TrainingSet(np.array([0, 5, 6, 36]), items, np.array([1, 2, 3]), 36)
    frame = pieces(data, 10)
    found = [part[columns.Item].tolist() for _, part in frame.groupby(columns.User)]
    # a history of one item has no target; one of 30 has 29, in pieces of eleven items that share their ends
    assert found == [[1, 2, 3, 4, 5], list(range(7, 18)), list(range(17, 28)), list(range(27, 37))]
    assert frame[columns.Datetime].is_monotonic_increasing


def test_a_step_of_a_peer_takes_what_is_counted_and_lowers_its_loss(peer: Peer, one_user: TrainingSet) -> None:
    work = peer.step()
    assert work.targets == one_user.targets == 20
    if isinstance(peer, RecBoleSASRec):  # a row for each target
        assert work.macs == 3 * 20 * (peer_macs(2, 10) + score_macs(ML1M_ITEMS))
    else:  # two windows, and of the items only those that it knows
        assert work.macs == 3 * (2 * peer_macs(2, 10) + 20 * score_macs(len(set(one_user.items))))

    def loss() -> float:
        """Of the history's last item, by its scores."""
        scores = peer.scores(torch.from_numpy(one_user.items[None, -11:-1].astype(np.int64)))[0]
        return float(-scores.log_softmax(0)[int(one_user.items[-1]) - 1])

    before = loss()
    for _ in range(10):
        peer.step()
    assert loss() < before < math.log(ML1M_ITEMS) * 1.2


def test_scores_of_a_window_are_those_of_its_items_alone(peer: Peer, one_user: TrainingSet) -> None:
    peer.step()
    items = torch.from_numpy(one_user.items[:10].astype(np.int64))
    windows = torch.stack([items, torch.cat([torch.zeros(6, dtype=torch.long), items[6:]])])
    together = peer.scores(windows)
    assert together.shape == (2, ML1M_ITEMS)
    torch.testing.assert_close(together[1:], peer.scores(windows[1:]))
    assert not torch.allclose(together[0, items - 1], together[1, items - 1])
    assert torch.equal(peer.scores(windows), together)  # no dropout in it


def test_rectools_scores_are_its_own_forward_pass(one_user: TrainingSet) -> None:
    pytest.importorskip("rectools")
    peer = RecToolsSASRec(one_user, SIZES, Recipe(), 0)
    batch = next(iter(peer.loader))
    peer.module.eval()
    with torch.no_grad():
        own = peer.module.torch_model(batch)[:, -1, 1:]  # the logits of its loss, without the padding's
    items = torch.cat([torch.zeros(1, dtype=torch.long), peer.known])
    found = peer.scores(items[batch["x"]])
    torch.testing.assert_close(found[:, peer.known - 1], own)
    unknown = torch.ones(ML1M_ITEMS, dtype=torch.bool)
    unknown[peer.known - 1] = False
    assert (found[:, unknown] == -torch.inf).all()


def test_recboles_scores_are_those_of_its_loss(one_user: TrainingSet) -> None:
    pytest.importorskip("recbole")
    peer = RecBoleSASRec(one_user, SIZES, Recipe(), 0)
    rows = next(peer.batches)
    row = {"item_list": rows.history, "length": rows.lengths, "item": rows.targets[:, -1]}
    peer.model.eval()
    with torch.no_grad():
        loss = float(peer.model.calculate_loss(peer.interaction(row)))
    scores = peer.scores(rows.windows)
    # without the padding's logit, which is as good as one of 3,012
    own = float(torch.nn.functional.cross_entropy(scores, rows.targets[:, -1] - 1))
    assert own == pytest.approx(loss, abs=2e-3)
