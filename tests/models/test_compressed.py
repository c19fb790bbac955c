"""Compressed networks by hand: semi-tensor product, scores and pruning, gates."""

import math

import numpy as np
import pytest
import torch

from models.backbones.base import Backbone
from models.checkpoint import BACKBONES
from models.device_part import DevicePart
from models.kernels.softmax_loss import distillation_loss
from models.shared.gater import GatedNetwork, newest, semantic_hash, to_the_left
from models.shared.rare_gem import RareGemModel
from models.shared.sttd import RANKS, FactoredNetwork, Ranks, semi_tensor_product

NAMES = list(BACKBONES)


def build(name: str, blocks: int = 2, context: int = 5) -> Backbone:
    return BACKBONES[name](20, blocks, context, torch.Generator().manual_seed(1)).eval()


def everything(backbone: Backbone) -> np.ndarray:
    return np.ones(backbone.blocks, dtype=bool)


# -- STTD ----------------------------------------------------------------------------------------------------------


def test_the_semi_tensor_product_by_hand() -> None:
    first = torch.tensor([[1.0, 2.0, 3.0, 4.0]])  # 1 x 4
    second = torch.tensor([[10.0, 100.0], [1000.0, 10000.0]])  # 2 x 2, step 2: the product is 1 x 4
    # column (j, s): first[s] * second[0, j] + first[2 + s] * second[1, j]
    assert semi_tensor_product(first, second, 2).tolist() == [[3010.0, 4020.0, 30100.0, 40200.0]]


@pytest.mark.parametrize("ranks", RANKS.values())
def test_the_semi_tensor_product_is_that_with_the_kronecker_product(ranks: Ranks) -> None:
    generator = torch.Generator().manual_seed(0)
    r, t = ranks.rank, ranks.step
    first = torch.randn(ranks.rows, r, generator=generator)
    second = torch.randn(r // t, ranks.columns // t, generator=generator)
    expected = first @ torch.kron(second, torch.eye(t))
    torch.testing.assert_close(semi_tensor_product(first, second, t), expected, rtol=1e-4, atol=1e-4)
    assert first.numel() + second.numel() == ranks.numbers


@pytest.mark.parametrize("name", NAMES)
def test_a_factored_block_is_put_together_layer_by_layer(name: str) -> None:
    backbone = build(name)
    network = FactoredNetwork(backbone, torch.Generator().manual_seed(0))
    ranks, width = network.ranks, backbone.inputs
    layers = network.stored(1).detach().view(backbone.linears, -1)
    layers[:, -64:] = torch.arange(backbone.linears).view(-1, 1) + 1.0  # biases
    flat = network[1][0].detach()
    assert flat.shape == (backbone.block_size,)
    first = ranks.rows * ranks.rank
    matrices = [
        semi_tensor_product(
            row[:first].view(ranks.rows, -1), row[first:-64].view(ranks.rank // ranks.step, -1), ranks.step
        )
        for row in layers
    ]
    if name == "sasrec":
        w_qkv, b_qkv = flat[: 64 * 192].view(64, 192), flat[64 * 192 : 65 * 192]
        torch.testing.assert_close(w_qkv[:, 64:128], matrices[1])
        assert b_qkv.view(3, 64).mean(1).tolist() == [1, 2, 3]
    torch.testing.assert_close(flat[-64 - width * 64 : -64], matrices[-1].flatten())
    assert flat[-64:].mean() == backbone.linears


def test_a_fresh_factored_layer_is_as_large_as_the_plain_one() -> None:
    backbone = build("sasrec")
    plain = backbone.initial_block(0, torch.Generator().manual_seed(3))
    made = FactoredNetwork(backbone, torch.Generator().manual_seed(4))[0].detach()
    assert math.isclose(float(made.std()), float(plain.std()), rel_tol=0.1)


# -- distillation --------------------------------------------------------------------------------------------------


def test_the_distillation_loss_and_its_gradient_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    states, table = torch.randn(300, 64, generator=generator), torch.randn(31, 64, generator=generator)
    other, other_table = torch.randn(300, 64, generator=generator), torch.randn(31, 64, generator=generator)
    got = [states.clone().requires_grad_(True), table.clone().requires_grad_(True)]
    want = [states.clone().requires_grad_(True), table.clone().requires_grad_(True)]
    loss = distillation_loss(got[0], got[1], other, other_table)
    teacher = (other @ other_table[1:].T).log_softmax(1)
    student = (want[0] @ want[1][1:].T).log_softmax(1)
    expected = torch.nn.functional.kl_div(student, teacher, log_target=True, reduction="batchmean")
    (2 * loss).backward()
    (2 * expected).backward()
    torch.testing.assert_close(loss, expected)
    for mine, its in zip(got, want, strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-4, atol=1e-5)
    assert distillation_loss(states, table, states, table).abs() < 1e-5


# -- Rare Gem ------------------------------------------------------------------------------------------------------


def gem(name: str = "sasrec") -> RareGemModel:
    return RareGemModel(build(name), torch.Generator().manual_seed(2))


def test_a_search_keeps_the_weights_and_follows_the_scores() -> None:
    model = gem()
    flat = model.network.stored(0).detach()
    sizes = flat[flat != 0].abs().unique()
    assert len(sizes) == 1  # signs of one size
    assert (flat == 0).sum() == 5 * 64  # biases
    on = model.scores[0] > 0.5
    torch.testing.assert_close(model.block(0)[0].detach(), flat * on)
    model.block(0).sum().backward()
    assert model.network.stored(0).grad is None
    # straight through: the gradient of a score is that of its weight's factor, which is the weight
    torch.testing.assert_close(model.scores[0].grad, flat)


def test_pruning_takes_the_lowest_scores_of_the_whole_network() -> None:
    model = gem()
    with torch.no_grad():
        model.scores[0].copy_(torch.linspace(0.5, 1.0, 20_800))
        model.scores[1].copy_(torch.linspace(0.0, 0.6, 20_800))
    model.prune(model.total - 1000)
    kept = [model.sparse.kept(k) for k in range(2)]
    assert int((~kept[1]).sum()) == 1000
    assert kept[0].all()
    gone = (~kept[1]).nonzero().squeeze(1)
    bound = model.scores[1][gone].max()
    assert (model.scores[1][kept[1] & model.prunable(1)] > bound).all()
    model.prune(model.total - 1000)  # already there: nothing more is taken
    assert int((~model.sparse.kept(1)).sum()) == 1000
    model.prune(0)  # biases are never pruned
    assert int(sum((model.sparse.kept(k)).sum() for k in range(2))) == 2 * 5 * 64


def test_after_the_search_every_weight_left_is_on_and_learns_and_the_others_stay_zero() -> None:
    model = gem()
    model.prune(model.total // 2)
    model.settle()
    kept = model.sparse.kept(0)
    flat = model.block(0)[0]
    assert (flat.detach()[~kept] == 0).all()
    assert (flat.detach()[kept & model.prunable(0)] != 0).all()
    flat.sum().backward()
    torch.testing.assert_close(model.network.stored(0).grad, kept.float())
    assert model.scores[0].grad is None


# -- Gater ---------------------------------------------------------------------------------------------------------


def test_windows_are_moved_to_the_left_and_histories_cut_at_the_right() -> None:
    aligned, lengths = to_the_left(torch.tensor([[0, 0, 7, 8], [1, 2, 3, 4], [0, 0, 0, 0]]))
    assert aligned.tolist() == [[7, 8, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]]
    assert lengths.tolist() == [2, 4, 1]
    recent, lengths = newest(torch.tensor([[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]]), torch.tensor([5, 1]), 3)
    assert recent.tolist() == [[3, 4, 5], [6, 0, 0]]
    assert lengths.tolist() == [3, 1]
    short, lengths = newest(torch.tensor([[1, 2]]), torch.tensor([2]), 3)
    assert short.tolist() == [[1, 2, 0]]
    assert lengths.tolist() == [2]


def test_semantic_hashing_is_hard_for_half_of_the_rows_and_always_has_the_soft_gradient() -> None:
    logits = torch.zeros(4000, 3, requires_grad=True)
    gates = semantic_hash(logits, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    noise, pick = torch.randn(4000, 3, generator=generator), torch.rand(4000, 1, generator=generator) < 0.5
    soft = 1.2 * torch.sigmoid(noise) - 0.1
    expected = torch.where(pick, soft.clamp(0, 1), (noise > 0).float())
    torch.testing.assert_close(gates, expected)
    assert 0.45 < float(pick.float().mean()) < 0.55
    gates.sum().backward()
    slope = 1.2 * torch.sigmoid(noise) * (1 - torch.sigmoid(noise)) * ((soft > 0) & (soft < 1))
    torch.testing.assert_close(logits.grad, slope)


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_that_is_off_equals_a_layer_without_it(name: str) -> None:
    backbone = build(name, blocks=1)
    weights = torch.randn(1, backbone.block_size, generator=torch.Generator().manual_seed(6)) * 0.1
    windows = torch.randint(1, 21, (1, 2, 5), generator=torch.Generator().manual_seed(7))
    units = torch.ones(1, 2, 1, backbone.linears * 64)
    units[0, 1, 0, -5] = 0  # the last layer's unit 59, for the second window only
    gated = backbone.encode(windows, lambda k, rows: weights, units=units)
    full = backbone.encode(windows, lambda k, rows: weights)
    cut = weights.clone()
    cut[0, -5] = 0
    cut[0, -64 - backbone.inputs * 64 : -64].view(backbone.inputs, 64)[:, 59] = 0
    without = backbone.encode(windows, lambda k, rows: cut)
    torch.testing.assert_close(gated[0, 0], full[0, 0])
    torch.testing.assert_close(gated[0, 1], without[0, 1])
    assert not torch.allclose(full[0, 1], without[0, 1])


@pytest.mark.parametrize("name", NAMES)
def test_the_footprint_of_gates_by_hand(name: str) -> None:
    backbone = build(name)
    network = GatedNetwork(backbone, torch.Generator()).eval()
    per_block, inputs = backbone.linears * 64, backbone.inputs
    plain = backbone.inference_macs(5, 2)
    gating = 5 * 6 * 4096 + 64 * 32 + 32 * 2 * per_block
    full = network.footprint(backbone, 5, everything(backbone))
    assert full.macs == plain + gating
    assert full.macs_paper == backbone.paper_macs(5, 2)
    network.used[1, :10] = False
    units = torch.ones(2, 2, per_block)
    units[:, 1, :10] = 0
    units[0, 0, :4] = 0  # one inference of two without four more units: two on average
    mean = network.footprint(backbone, 5, everything(backbone), units)
    assert mean.macs == plain + gating - 12 * 5 * inputs
    assert mean.macs_paper == backbone.paper_macs(5, 2) - 12 * 5 * inputs
    assert mean.weights == 2 * (backbone.block_size + backbone.static_block_weights()) - 10 * (inputs + 1)


@torch.no_grad()
def test_the_gates_of_a_window_do_not_depend_on_the_windows_beside_it() -> None:
    backbone = build("sasrec")
    torch.manual_seed(0)
    network = GatedNetwork(backbone, torch.Generator()).eval()
    network.gates.bias.zero_()
    part = DevicePart(backbone, controller=False, interest=False).eval()
    windows = torch.randint(1, 21, (6, 3, 5), generator=torch.Generator().manual_seed(8))
    windows[2, 1, :3] = 0
    together = network.units(part, windows)
    assert 0.2 < float(together.mean()) < 0.8
    for d in range(6):
        assert torch.equal(network.units(part, windows[d : d + 1])[0], together[d])
    network.used[0, 5] = False
    assert (network.units(part, windows)[:, :, 0, 5] == 0).all()


def test_a_single_window_in_training_is_gated_with_the_statistics_of_the_others() -> None:
    backbone = build("sasrec")
    network = GatedNetwork(backbone, torch.Generator())
    embedded, lengths = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([4])
    alone = network.train().logits(embedded, lengths)
    torch.testing.assert_close(alone, network.eval().logits(embedded, lengths), rtol=0, atol=1e-2)  # bfloat16
