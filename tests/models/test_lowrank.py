"""The low-rank mapper: what is trained without making weights is what a device runs with the weights it is sent."""

import pytest
import torch
from torch import Tensor

from models.backbones.base import Backbone, Layers
from models.backbones.nextitnet import NextItNet
from models.backbones.sasrec import SASRec
from models.hypernetwork import CACHED, RANK, LowRankMapper


def made(kind: type[Backbone]) -> tuple[Backbone, LowRankMapper]:
    generator = torch.Generator().manual_seed(0)
    backbone = kind(30, 3, 5, generator)
    mapper = LowRankMapper(backbone, generator)
    with torch.no_grad():
        for parameter in [*mapper.up, *mapper.shift]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return backbone, mapper.eval()


@pytest.mark.parametrize("kind", [SASRec, NextItNet])
def test_applied_and_folded_are_the_same_network(kind: type[Backbone]) -> None:
    backbone, mapper = made(kind)
    latent = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    windows = torch.randint(0, 31, (4, 2, 5), generator=torch.Generator().manual_seed(2))

    def folded(k: int, rows: Tensor | None) -> Tensor:
        return mapper.block(k, latent if rows is None else latent[rows])

    def applied(k: int, rows: Tensor | None) -> Layers:
        return mapper.applied(k, latent if rows is None else latent[rows])

    expected = backbone.encode(windows, folded)
    torch.testing.assert_close(backbone.encode(windows, applied), expected, rtol=1e-4, atol=1e-5)
    other = backbone.encode(windows, lambda k, rows: mapper.block(k, latent.roll(1, 0)))
    assert not torch.allclose(other, expected, atol=1e-2)  # devices do differ


def test_a_fresh_mapper_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    mapper = LowRankMapper(SASRec(30, 2, 5, generator), generator)
    made = mapper.block(1, torch.randn(3, 64, generator=generator))
    torch.testing.assert_close(made, mapper.base[1].expand(3, -1))


@torch.no_grad()
def test_a_network_does_not_depend_on_how_many_are_made_at_once() -> None:
    _, mapper = made(SASRec)
    latent = torch.randn(2 * CACHED + 3, 64, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([mapper.block(1, one) for one in latent.split(1)])
    torch.testing.assert_close(mapper.block(1, latent), alone)
    assert not torch.allclose(alone[0], alone[-1], atol=1e-2)


@torch.no_grad()
def test_one_weight_by_hand() -> None:
    _, mapper = made(SASRec)
    latent = torch.zeros(1, 64)
    latent[0, 3] = 2.0
    # Row 5, column 7 of W_1 in block 2: the second of its three matrices, behind W_qkv (64 x 192) and b_qkv (192).
    i = 2 * 3 + 1
    change = sum(float(mapper.down[i][5, r] * 2 * mapper.code[i][3, r] * mapper.up[i][r, 7]) for r in range(RANK))
    position = 64 * 192 + 192 + 5 * 64 + 7
    expected = float(mapper.base[2][position]) + change
    assert float(mapper.block(2, latent)[0, position]) == pytest.approx(expected, rel=1e-5)
    bias = 64 * 192 + 192 + 64 * 64 + 7
    assert float(mapper.block(2, latent)[0, bias]) == pytest.approx(float(2 * mapper.shift[i][3, 7]), rel=1e-5)


def test_counts_by_hand() -> None:
    _, mapper = made(SASRec)
    code, shift = 3 * 64 * 16, 64 * (192 + 64 + 64)
    scale, product = 3 * 64 * 16, 64 * 16 * (192 + 64 + 64)
    assert mapper.macs(2) == 2 * (code + shift + scale + product)
    changes = [*mapper.down, *mapper.up, *mapper.code, *mapper.shift]
    assert sum(p.numel() for p in changes) == 3 * (3 * 64 * 16 + 16 * 320 + 3 * 64 * 16 + 64 * 320)
