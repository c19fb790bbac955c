"""A device's own disk, its windows, and that it does not matter who computes beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clients import inference, local_training
from clients.local_data import Storage, recent, session_events
from core.sealed import write_arrays
from models.backbones.sasrec import SASRec
from models.candidates import Candidates, Seen
from models.cloud_models import AdaptiveModel, StaticModel
from models.device_part import DevicePart


def part(*, controller: bool = True) -> DevicePart:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    backbone = SASRec(50, 3, 4, generator)
    return AdaptiveModel(backbone, generator, controller=controller).device_part.eval()


def sequences(devices: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(1, 51, size=int(rng.integers(3, 130))) for _ in range(devices)]


def test_storage_gives_what_was_before_and_what_happens_during_a_session(tmp_path: Path) -> None:
    arrays = {
        "offsets": [0, 5, 9],
        "items": [1, 2, 3, 4, 5, 11, 12, 13, 14],
        "session_offsets": [0, 2, 3],
        "session_starts": [3, 4, 2],
    }
    write_arrays(tmp_path, {name: np.array(values) for name, values in arrays.items()}, {})
    storage = Storage(tmp_path)
    assert storage.before(0, 0).tolist() == [1, 2, 3]
    assert storage.during(0, 0).tolist() == [4]
    assert storage.before(0, 1).tolist() == [1, 2, 3, 4]
    assert storage.during(0, 1).tolist() == [5]
    assert storage.before(1, 0).tolist() == [11, 12]
    assert storage.during(1, 0).tolist() == [13, 14]


def test_session_events_by_hand() -> None:
    windows, targets, _ = session_events(
        [np.array([7]), np.array([1, 2, 3, 4])], [np.array([8, 9]), np.array([5])], 3, "all"
    )
    assert windows.tolist() == [[[0, 0, 7], [0, 7, 8]], [[2, 3, 4], [0, 0, 0]]]
    assert targets.tolist() == [[8, 9], [5, 0]]


def test_recent_items_are_right_padded() -> None:
    history, lengths = recent([np.array([1, 2, 3, 4]), np.array([9])], 3)
    assert history.tolist() == [[2, 3, 4], [9, 0, 0]]
    assert lengths.tolist() == [3, 1]


def test_a_request_does_not_depend_on_the_other_devices() -> None:
    model, past = part(), sequences(64)
    together = inference.request(model, *recent(past, 20))
    for d in range(64):
        alone = inference.request(model, *recent(past[d : d + 1], 20))
        assert alone.path[0].tolist() == together.path[d].tolist()
        torch.testing.assert_close(alone.latent[0], together.latent[d], rtol=0, atol=1e-6)


@pytest.mark.parametrize("candidates", ["all", "unseen"])
def test_reranking_one_device_or_64_gives_the_same_hits(candidates: Candidates) -> None:
    model, past = part(), sequences(64)
    rng = np.random.default_rng(2)
    during = [rng.integers(1, 51, size=int(rng.integers(1, 8))) for _ in past]
    events = session_events(past, during, 4, candidates)
    stack = [torch.randn(64, 20_800, generator=torch.Generator().manual_seed(k)) * 0.05 for k in range(3)]
    keep = torch.rand(64, 3, generator=torch.Generator().manual_seed(9)) < 0.7
    together = inference.rerank(model, events, lambda k, r: stack[k] if r is None else stack[k][r], keep)
    if candidates == "all":
        assert together.events.tolist() == [len(x) for x in during]
    else:
        firsts = [len(set(now.tolist()) - set(old.tolist())) for old, now in zip(past, during, strict=True)]
        assert together.events.tolist() == firsts
        assert sum(firsts) < sum(len(x) for x in during)
    assert 0 < together.hits.sum() < together.events.sum()
    for d in range(64):
        mine = [w[d : d + 1] for w in stack]
        own = session_events(past[d : d + 1], during[d : d + 1], 4, candidates)
        alone = inference.rerank(model, own, lambda k, r, mine=mine: mine[k], keep[d : d + 1])
        assert (alone.hits[0], alone.ndcg[0]) == (together.hits[d], together.ndcg[d])


def test_the_fallback_ranks_by_popularity() -> None:
    model = part()
    model.popularity[:] = torch.arange(51)  # item i is the i-th most popular
    quality = inference.popular(model, session_events([np.array([50])], [np.array([1, 3, 10, 11])], 4, "all"))
    assert quality.events.tolist() == [4]
    assert quality.hits.tolist() == [3]
    assert quality.ndcg[0].item() == 1 + 0.5 + 1 / np.log2(11)


def test_a_sum_does_not_depend_on_the_longest_session_of_the_batch() -> None:
    """To the last bit: a device alone and a device among others have to report the same."""
    model, rng = part(), np.random.default_rng(3)
    model.popularity[:] = torch.arange(51)
    sessions = [rng.integers(1, 12, size=int(rng.integers(1, 10))) for _ in range(200)]
    together = inference.popular(model, session_events([np.array([50])] * 200, sessions, 4, "all"))
    for d, session in enumerate(sessions):
        alone = inference.popular(model, session_events([np.array([50])], [session], 4, "all"))
        assert float(alone.ndcg[0]) == float(together.ndcg[d])


def test_a_shared_network_gives_the_same_without_the_places_that_hold_no_prediction() -> None:
    """Devices with sessions of different lengths and with different paths in the network."""
    model, rng = part(), np.random.default_rng(3)
    shared = StaticModel(model.backbone, torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    sessions = [rng.integers(1, 51, size=int(rng.integers(1, 10))) for _ in range(20)]
    events = session_events(sequences(20), sessions, 4, "unseen")
    keep = torch.from_numpy(rng.random((20, 3)) < 0.6)
    assert not keep.all(dim=0).any()
    given = model, events, lambda k, rows: shared.block(k), keep
    whole, packed = inference.rerank(*given), inference.rerank(*given, shared=True)
    assert torch.equal(packed.ranks, whole.ranks)
    assert len(whole.ranks.unique()) > 10
    assert all(torch.equal(packed.sums[name], mine) for name, mine in whole.sums.items())
    nothing = session_events([np.array([5, 6])], [np.array([5])], 4, "unseen")
    assert inference.rerank(model, nothing, given[2], keep[:1], shared=True).events.tolist() == [0]


def test_the_fallback_passes_over_what_the_device_has_seen() -> None:
    model = part()
    model.popularity[:] = torch.arange(51)
    events = session_events([np.array([2, 5, 2, 50])], [np.array([12, 1, 5, 13])], 4, "unseen")
    quality = inference.popular(model, events)
    assert quality.ranks[0].tolist() == [10, 1, 0, 9]  # before 13 come 2, 5, 12 and 1, which it has seen
    assert quality.events.tolist() == [3]


def test_fine_tuning_one_device_or_many_gives_the_same_weights_and_lowers_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    model = StaticModel(SASRec(50, 2, 4, generator), generator).eval().requires_grad_(False)
    network, past = [model.block(k) for k in range(2)], sequences(16)
    together = local_training.tune(model.device_part, network, past)
    for d in (0, 7, 15):
        alone = local_training.tune(model.device_part, network, past[d : d + 1])
        assert alone.macs[0] == together.macs[d]
        for k in range(2):
            # Adam divides by the root of tiny squared gradients, which magnifies rounding.
            torch.testing.assert_close(alone.weights[k][0], together.weights[k][d], rtol=0, atol=2e-4)
    windows, targets, _ = local_training.training_windows(past, 4)

    def loss(weights: list[torch.Tensor]) -> float:
        states = model.device_part.backbone.encode(windows, lambda k, rows: weights[k])
        scores = model.device_part.backbone.score(states[targets > 0])
        return torch.nn.functional.cross_entropy(scores, targets[targets > 0] - 1).item()

    assert loss(together.weights) < loss(network) - 0.01


def test_a_device_whose_own_training_diverges_keeps_the_installed_network() -> None:
    """Of two devices, one runs a block whose weights are so large that its training overflows."""
    generator = torch.Generator().manual_seed(0)
    model = StaticModel(SASRec(50, 2, 4, generator), generator).eval().requires_grad_(False)
    network = [model.block(0), torch.full_like(model.block(1), 1e30)]
    keep = torch.tensor([[True, False], [True, True]])
    past = sequences(2)
    tuned = local_training.tune(model.device_part, network, past, keep)
    assert tuned.diverged.tolist() == [False, True]
    assert all(weights.isfinite().all() for weights in tuned.weights)
    assert torch.equal(tuned.weights[0][1], network[0][0])
    assert torch.equal(tuned.weights[1][0], network[1][0])
    alone = local_training.tune(model.device_part, network, past[:1], keep[:1])
    torch.testing.assert_close(tuned.weights[0][0], alone.weights[0][0], rtol=0, atol=2e-4)
    assert not torch.equal(tuned.weights[0][0], network[0][0])
    assert tuned.macs[0] == alone.macs[0]
    assert tuned.macs[1] > tuned.macs[0]  # the energy is spent all the same


def test_fine_tuning_windows_hold_the_latest_interactions_as_targets() -> None:
    windows, targets, _ = local_training.training_windows([np.arange(1, 200), np.array([5, 6, 7])], 10)
    assert windows.shape == (2, 10, 10)
    assert targets[0, 0].tolist() == list(range(190, 200))
    assert sorted(targets[0].flatten().tolist()) == list(range(100, 200))
    assert targets[1, 0].tolist() == [0] * 8 + [6, 7]
    assert targets[1, 1:].sum() == 0


def test_fine_tuning_targets_are_candidates_and_know_what_came_before_them() -> None:
    past = [np.array([4, 9, 4, 8, 9, 7]), np.array([1, 2])]
    windows, targets, seen = local_training.training_windows(past, 2, 4, "unseen")
    assert windows[0].tolist() == [[8, 9], [9, 4]]
    assert targets[0].tolist() == [[0, 7], [0, 8]]  # 4 and 9 came before
    assert targets[1].tolist() == [[0, 2], [0, 0]]
    assert seen is not None
    assert seen_by(seen, 0, 0, 1) == [4, 9, 4, 8, 9]
    assert seen_by(seen, 0, 1, 1) == [4, 9, 4]
    assert seen_by(seen, 1, 0, 1) == [1]


def seen_by(seen: Seen, *place: int) -> list[int]:
    start, length = int(seen.starts[place]), int(seen.lengths[place])
    return seen.items[start : start + length].tolist()


def test_fine_tuning_costs_three_forward_passes_a_step_over_the_windows_that_hold_something() -> None:
    generator = torch.Generator().manual_seed(0)
    model = StaticModel(SASRec(50, 2, 10, generator), generator).eval().requires_grad_(False)
    tuned = local_training.tune(model.device_part, [model.block(k) for k in range(2)], [np.array([5, 6, 7])])
    forward = 1 * 2 * (5 * 10 * 4096 + 2 * 100 * 64) + 2 * 50 * 64  # one window, two blocks; two targets scored
    assert tuned.macs.tolist() == [3 * local_training.STEPS * forward]
