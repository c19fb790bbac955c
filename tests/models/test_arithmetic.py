"""Half precision and 8-bit integers by hand, against whole numbers, and in a batch as one by one."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.arithmetic import ARITHMETICS, LARGEST, MOST_INPUTS, Integer, Single, quantise
from models.checkpoint import BACKBONES, Installed
from models.cloud_models import AdaptiveModel, StaticModel
from models.device_part import Extractor
from models.metrics import ranks
from models.shared.plain import footprint

INTEGER, HALF = ARITHMETICS[8], ARITHMETICS[16]
MATRIX = torch.tensor([[1.27, -1.0], [0.6, 4.0]])


def test_a_matrix_is_quantised_by_its_channels_by_hand() -> None:
    values, scales = quantise(MATRIX, 0)
    assert values.tolist() == [[127, -32], [60, 127]]  # -1 / (4 / 127) is -31.75
    assert scales.tolist() == [[pytest.approx(0.01, rel=4e-5), pytest.approx(4 / 127, rel=4e-5)]]
    values, scales = quantise(torch.zeros(3, 2), 0)
    assert (values == 0).all()
    assert (scales == 1).all()


def test_what_is_on_a_grid_has_that_grid() -> None:
    """So that what was stored or sent in 8 bits is multiplied with the very integers that were stored or sent."""
    generator = torch.Generator().manual_seed(0)
    for size in (1e-20, 1e-3, 1.0, 1e10):
        values, scales = quantise(torch.randn(200, 64, 7, generator=generator) * size, 1)
        carried = values * scales
        assert torch.equal(carried.double(), values.double() * scales.double())  # no digit is rounded away
        again, same = quantise(carried, 1)
        assert torch.equal(again, values)
        assert torch.equal(same, scales)
        assert values.abs().amax(1).eq(LARGEST).all()


def test_a_product_of_integers_by_hand() -> None:
    out = INTEGER.product(torch.tensor([[1.0, -0.25]]), MATRIX, torch.tensor([0.5, 0.0]))
    # the row is 127 and -32 times 1 / 127: 127 x 127 - 32 x 60 = 14,209 and -127 x 32 - 32 x 127 = -8,128
    expected = [14_209 / 127 * 0.01 + 0.5, -8_128 / 127 * 4 / 127]
    assert out[0].tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("inputs", [64, 192, MOST_INPUTS])
def test_products_of_integers_are_exact(inputs: int) -> None:
    rng = np.random.default_rng(inputs)
    assert isinstance(INTEGER, Integer)
    rows = rng.integers(-LARGEST, LARGEST + 1, (50, inputs))
    columns = rng.integers(-LARGEST, LARGEST + 1, (inputs, 30))
    rows[0], columns[:, 0] = LARGEST, -LARGEST  # the largest sum there can be
    found = INTEGER.exact(torch.from_numpy(rows).float(), torch.from_numpy(columns).float())
    assert np.array_equal(found.numpy().astype(np.int64), rows @ columns)
    assert abs(found[0, 0]) == inputs * 16_129


def test_a_product_that_would_not_be_exact_is_none() -> None:
    assert MOST_INPUTS * 127**2 < 2**24 <= (MOST_INPUTS + 1) * 127**2
    with pytest.raises(ValueError, match="1041 8-bit inputs"):
        INTEGER.product(torch.zeros(1, 1041), torch.zeros(1041, 2))


def test_half_precision_by_hand() -> None:
    """Ten bits of mantissa: 1 + 2^-12 is 1, 2,049 is 2,048; the sum is rounded once, at its end."""
    assert HALF.product(torch.tensor([[1 + 2**-12]]), torch.tensor([[3.0]])).item() == 3
    assert HALF.product(torch.tensor([[2048.0, 1.0]]), torch.ones(2, 1)).item() == 2048
    assert HALF.product(torch.tensor([[2048.0, 1.0, 1.0]]), torch.ones(3, 1)).item() == 2050
    assert HALF.stored(torch.tensor([[1 / 3]]), 1).item() == 0.333251953125


@torch.no_grad()
def test_items_are_ranked_by_the_sums_before_they_are_rounded_to_half() -> None:
    """Scores of 2,049 and 2,048 and 2,047: to half precision the first two are one number. Factors are rounded: of
    2,049.25 as a weight of the last item 2,050 is left."""
    backbone = BACKBONES["sasrec"](4, 2, 5, torch.Generator().manual_seed(0))
    part = StaticModel(backbone, torch.Generator().manual_seed(0)).device_part
    part.backbone.items[1:, 2:] = 0
    part.backbone.items[1:, :2] = torch.tensor([[2048.0, 1.0], [2048.0, 0.0], [2048.0, -1.0], [2049.25, 0.0]])
    at = Installed(part, None, None, "all").at(16).part.backbone
    states = torch.zeros(1, 64)
    states[0, :2] = 1
    scores = at.score(states)
    assert scores.tolist() == [[2049, 2048, 2047, 2050]]
    assert ranks(scores.expand(4, 4), torch.arange(1, 5)).tolist() == [2, 3, 4, 1]
    assert HALF.product(states, at.items[1:].T).tolist() == [[2048, 2048, 2047, 2050]]


@pytest.mark.parametrize("bits", [16, 8])
def test_attention_sees_nothing_later_and_is_close_to_that_in_single_precision(bits: int) -> None:
    q, k, v = torch.randn(3, 4, 2, 6, 16, generator=torch.Generator().manual_seed(bits)).unbind()
    found = ARITHMETICS[bits].attention(q, k, v)
    for n in (1, 3):
        first = ARITHMETICS[bits].attention(q[:, :, :n], k[:, :, :n], v[:, :, :n])
        assert torch.equal(found[:, :, :n], first)
    exact = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    error = float((found - exact).abs().max())
    assert 0 < error < {16: 0.005, 8: 0.06}[bits]


def test_the_extractor_step_by_step_is_the_gru() -> None:
    torch.manual_seed(0)
    extractor = Extractor().eval()
    embedded, start = torch.randn(5, 7, 64), torch.randn(5, 64)
    lengths = torch.tensor([7, 1, 3, 7, 6])
    with torch.no_grad():
        known = extractor(embedded, lengths, start)
        extractor.arithmetic = Single()  # another one than the default, which runs PyTorch's own loop
        torch.testing.assert_close(extractor(embedded, lengths, start), known, rtol=1e-5, atol=1e-6)
        extractor.arithmetic = INTEGER
        rough = extractor(embedded, lengths, start)
    assert 1e-4 < float((rough - known).abs().max()) < 0.1


def adaptive(name: str) -> tuple[Installed, AdaptiveModel]:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    backbone = BACKBONES[name](30, 2, 5, generator)
    torch.manual_seed(0)  # PyTorch's own GRU draws from it
    model = AdaptiveModel(backbone, generator, controller=True).eval()
    with torch.no_grad():
        for weights in model.mapper.parameters():
            weights.mul_(3)
    return Installed(model.device_part.requires_grad_(False), None, None, "all"), model


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("bits", [16, 8])
@torch.no_grad()
def test_devices_in_a_batch_get_the_numbers_that_they_get_one_by_one(name: str, bits: int) -> None:
    installed, model = adaptive(name)
    part = installed.at(bits).part
    generator = torch.Generator().manual_seed(1)
    history, lengths = torch.randint(1, 31, (5, 9), generator=generator), torch.tensor([9, 2, 5, 9, 1])
    windows = torch.randint(1, 31, (5, 3, 5), generator=generator)
    windows[1, :, :3] = 0

    def numbers(rows: slice) -> list[torch.Tensor]:
        embedded = part.embed_history(history[rows])
        assert part.controller is not None
        logits = part.controller(embedded, lengths[rows])
        latent = part.latent(embedded, lengths[rows], logits)
        states = part.backbone.encode(windows[rows], lambda k, some: weights[k][rows])
        return [logits, latent, states, part.backbone.score(states[:, :, -1])]

    latents = part.latent(part.embed_history(history), lengths, None)
    weights = [model.mapper.block(k, latents) for k in range(2)]  # the cloud's, in single precision
    together = numbers(slice(None))
    for d in range(5):
        for whole, alone in zip(together, numbers(slice(d, d + 1)), strict=True):
            assert torch.equal(whole[d : d + 1], alone)
    plain = installed.part.backbone.encode(windows, lambda k, some: weights[k])
    difference = float((plain - together[2]).abs().max())
    assert 0 < difference < {16: 0.02, 8: 0.5}[bits]
    assert installed.at(bits) is installed.at(bits)
    assert installed.at(32) is installed


def test_what_is_installed_in_each_precision_by_hand() -> None:
    """20 items, 2 blocks, a context of 5: 21 ranks by popularity, 26 rows of 64 embeddings, 2 x 20,800 weights, of
    which 2 x 320 are biases of as many channels."""
    generator = torch.Generator().manual_seed(0)
    backbone = BACKBONES["sasrec"](20, 2, 5, generator)
    model = StaticModel(backbone, generator)
    installed = Installed(model.device_part, model.network, None, "all")
    ranks, block = 21 * 32, 20_480 * 8 + 320 * (32 + 32)
    assert installed.bits == ranks + 32 * (26 * 64 + 2 * 20_800)
    assert installed.at(16).bits == ranks + 16 * (26 * 64 + 2 * 20_800)
    assert installed.at(8).bits == ranks + 26 * (64 * 8 + 32) + 2 * block
    one = footprint(backbone, 5, np.array([True, False]))
    assert [one.bits(bits) for bits in (32, 16, 8)] == [665_600, 332_800, block]
    assert one.bits(8) == 184_320


def test_norms_stay_in_single_precision_in_8_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    backbone = BACKBONES["nextitnet"](20, 2, 5, generator)
    one = footprint(backbone, 5, np.array([True, False]))
    # 2 x 12,288 weights and 2 x 64 channels of the block that runs; 256 numbers of norms of each block
    assert one.bits(8) == 24_576 * 8 + 128 * (32 + 32) + 512 * 32
    assert one.bits(16) == 16 * (24_704 + 512)
    assert math.isclose(one.bits(32), 32 * one.weights)
