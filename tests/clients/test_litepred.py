"""LitePred on the device: predictor, search and fine-tuning of a subnet, by hand and against planted answers."""

from functools import partial

import numpy as np
import pytest
import torch

from clients import local_training
from clients.budget import Budget
from clients.search import evolution, latency
from clients.session.litepred import Search, Subnet
from core.seeds import numpy_generator
from models.backbones.sasrec import SASRec
from models.cloud_models import StaticModel
from models.shared.plain import footprint

ITEMS, BLOCKS, CONTEXT = 50, 4, 5
BLOCK_MACS = 5 * 5 * 4096 + 2 * 25 * 64  # 105,600
SCORING = ITEMS * 64


def supernet(blocks: int = BLOCKS) -> StaticModel:
    generator = torch.Generator().manual_seed(0)
    return StaticModel(SASRec(ITEMS, blocks, CONTEXT, generator), generator).eval().requires_grad_(False)


def histories(devices: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(1, ITEMS + 1, size=int(rng.integers(8, 60))) for _ in range(devices)]


def search(past: list[np.ndarray], budgets: list[Budget], rows: list[int], blocks: int = BLOCKS) -> list[Subnet]:
    model = supernet(blocks)
    rngs = [numpy_generator(0, "search", row) for row in rows]
    return Search(model.device_part, model.network, past)(rows, [budgets[row] for row in rows], rngs)


def test_the_predictor_recovers_the_coefficients_it_was_measured_with() -> None:
    added = np.array([1.0, 2.5, 0.0, 4.0])
    paths = latency.sample(4, np.random.default_rng(0))
    assert paths.shape == (latency.SAMPLES, 4)
    predict = latency.fit(paths, 0.5 + paths @ added)
    np.testing.assert_allclose(predict.blocks, added, atol=1e-12)
    assert predict(np.array([True, False, True, True])) == pytest.approx(5.5)
    assert predict(np.zeros(4, dtype=bool)) == pytest.approx(0.5)
    # Where measurements scatter, as on a phone, it is the least squares: two of 1 and 3 seconds make 2.
    assert latency.fit(np.zeros((2, 1)), np.array([1.0, 3.0])).base == pytest.approx(2.0)


def planted(targets: np.ndarray, rows: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """How many blocks a path has wrong; every device has another target."""
    wrong: np.ndarray = (paths != targets[rows]).sum(axis=1).astype(float)
    return wrong


def test_evolution_finds_the_planted_path_of_every_device_and_evaluates_none_twice() -> None:
    blocks = 10
    targets = np.random.default_rng(5).random((8, blocks)) < 0.5
    targets[:, 0] = True
    rngs = [np.random.default_rng(d) for d in range(8)]
    found = evolution.evolve(blocks, [lambda path: True] * 8, rngs, partial(planted, targets))
    drawn = np.random.default_rng(9).random((8, 96, blocks)) < 0.5
    left = [int((one.path != target).sum()) for one, target in zip(found, targets, strict=True)]
    by_chance = (drawn != targets[:, None]).sum(axis=2).min(axis=1)
    assert max(left) <= 1
    assert np.mean(left) < by_chance.mean() / 2  # as many random paths do worse
    for one in found:
        assert len(one.evaluated) <= evolution.most_evaluations(blocks) == 16 + 5 * 16
        assert len(np.unique(one.evaluated, axis=0)) == len(one.evaluated)
    assert evolution.most_evaluations(3) == 8


def test_evolution_stays_within_what_a_device_can_afford() -> None:
    values = np.array([5.0, 1.0, 4.0, 3.0, 2.0])

    def losses(rows: np.ndarray, paths: np.ndarray) -> np.ndarray:
        return -(paths @ values)

    limits = [5, 2, 1, 0]
    fits = [lambda path, limit=limit: path.sum() <= limit for limit in limits]
    found = evolution.evolve(5, fits, [np.random.default_rng(d) for d in range(4)], losses)
    masks = ["".join("01"[bit] for bit in one.path.astype(int)) for one in found]
    assert masks == ["11111", "10100", "10000", "00000"]
    for one, limit in zip(found, limits, strict=True):
        assert one.evaluated.sum(axis=1).max() == limit


def test_of_equally_good_paths_the_shortest_is_kept() -> None:
    found = evolution.evolve(4, [lambda path: True], [np.random.default_rng(0)], lambda r, p: np.zeros(len(r)))
    assert found[0].path.sum() == 1  # a path has at least one block where one fits


def test_searching_for_one_device_or_many_gives_the_same_paths_and_counts() -> None:
    past, budgets = histories(12), [Budget(), Budget(macs=SCORING + 2 * BLOCK_MACS, seconds_per_mac=1e-9)] * 6
    together = search(past, budgets, list(range(12)))
    assert len({tuple(one.path.tolist()) for one in together}) > 3
    for d in range(12):
        alone = search(past[d : d + 1], budgets[d : d + 1], [0]) if d == 0 else search(past, budgets, [d])
        assert alone[0].path.tolist() == together[d].path.tolist()
        assert alone[0].macs == together[d].macs


def test_the_losses_are_those_of_the_networks_on_the_latest_interactions() -> None:
    model, past = supernet(), histories(3)
    looking = Search(model.device_part, model.network, past)
    rows, paths = np.array([2, 0]), np.array([[1, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
    found = looking.losses(rows, paths)
    for row, path, loss in zip(rows, paths, found, strict=True):
        states = []
        line = past[row][-21:]  # 20 targets in windows of five
        for start in range(0, 20, CONTEXT):
            window = torch.from_numpy(line[start : start + CONTEXT])[None, None]
            keep = torch.from_numpy(path[None])
            states.append(model.device_part.backbone.encode(window, model.block, keep=keep)[0, 0])
        scores = model.device_part.backbone.score(torch.cat(states))
        expected = torch.nn.functional.cross_entropy(scores, torch.from_numpy(line[1:]) - 1)
        assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_the_prediction_decides_what_is_within_the_latency() -> None:
    past, rate = histories(4), 2e-9
    two_blocks = Budget(macs=SCORING + 2.5 * BLOCK_MACS, seconds_per_mac=rate)
    assert max(one.path.sum() for one in search(past, [two_blocks] * 4, [0, 1, 2, 3])) == 2
    with pytest.MonkeyPatch.context() as patch:
        honest = latency.fit
        patch.setattr(latency, "fit", lambda paths, seconds: honest(paths, 2 * seconds))
        cautious = search(past, [two_blocks] * 4, [0, 1, 2, 3])
    assert {int(one.path.sum()) for one in cautious} == {1}
    size = Budget(model_bits=3 * 20_800 * 32, seconds_per_mac=rate)
    assert max(one.path.sum() for one in search(past, [size] * 4, [0, 1, 2, 3])) <= 3


def test_what_a_search_multiplies_by_hand() -> None:
    past = [np.array([5, 6, 7])]
    found = search(past, [Budget()], [0], blocks=1)[0]
    assert found.path.tolist() == [True]
    drawn = latency.sample(1, numpy_generator(0, "search", 0)).sum()
    measuring = 32 * SCORING + drawn * BLOCK_MACS
    assert found.macs == measuring + BLOCK_MACS + 2 * SCORING  # one path, one window, two targets
    model = supernet(1)
    bound = Search(model.device_part, model.network, past).most_macs().tolist()
    assert bound == [32 * (SCORING + BLOCK_MACS) + 2 * (BLOCK_MACS + 2 * SCORING)]


def test_a_search_prefers_no_path_whose_network_gives_no_number() -> None:
    model, past = supernet(), histories(3)
    with torch.no_grad():
        model.network.stored(0).fill_(float("nan"))
    some = Search(model.device_part, model.network, past)
    paths = np.array([[True, False, False, False], [False, True, False, False], [True, True, True, True]])
    losses = some.losses(np.array([0, 1, 2]), paths)
    assert np.isposinf(losses).tolist() == [True, False, True]
    found = some([0, 1, 2], [Budget()] * 3, [numpy_generator(0, "search", d) for d in range(3)])
    assert not any(one.path[0] for one in found)


def test_energy_leaves_room_for_the_search_itself() -> None:
    past = histories(1)
    model = supernet()
    bound = int(Search(model.device_part, model.network, past).most_macs()[0])
    one = footprint(model.device_part.backbone, CONTEXT, np.arange(BLOCKS) < 1)
    lean = Budget(joules=bound + 10.0 * one.macs, predictions=10, joules_per_mac=1.0)
    assert search(past, [lean], [0])[0].path.sum() == 1


def test_a_device_trains_the_blocks_of_its_path_and_no_others() -> None:
    model, past = supernet(), histories(5)
    keep = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
    together = local_training.tune(model.device_part, model.network, past, keep)
    assert [len(block) for block in together.weights] == [3, 1, 4, 2]
    places = keep.cumsum(dim=0) - 1
    for d in range(5):
        alone = local_training.tune(model.device_part, model.network, past[d : d + 1], keep[d : d + 1])
        assert alone.macs[0] == together.macs[d]
        for k in keep[d].nonzero().flatten().tolist():
            mine = together.weights[k][places[d, k]]
            # Adam divides by the root of tiny squared gradients, which magnifies rounding.
            torch.testing.assert_close(mine, alone.weights[k][0], rtol=0, atol=2e-4)
            assert (mine != model.network[k][0]).any()
    windows, targets = local_training.training_windows(past, CONTEXT)
    forward = (windows[0] != 0).any(dim=1).sum() * 3 * BLOCK_MACS + (targets[0] > 0).sum() * SCORING
    assert together.macs[0] == 3 * local_training.STEPS * forward
