"""What a code is, by hand: its bits, its numbers in 16 and 8 bits, and the weights that a device makes of it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.backbones.nextitnet import NextItNet
from models.backbones.sasrec import SASRec
from models.delivery import Delivery, code_bits, decode, encode
from models.hypernetwork import RANK, LowRankBases, LowRankMapper, by_device

PIECES = [2, 3]


def test_a_delivery_is_named_and_read_again() -> None:
    for delivery in (Delivery(), Delivery("code", 32), Delivery("code", 8), Delivery("local")):
        assert Delivery.named(delivery.name) == delivery
    assert [Delivery("code", 16).name, Delivery("local", 32).name] == ["code-16", "local"]


def test_eight_bits_by_hand() -> None:
    code = torch.tensor([[1.0, -0.5, 0.0, 0.0, 0.0], [0.0, -2.54, 1.27, 0.02, -0.004]])
    numbers, scales = encode(code, PIECES, 8)
    assert numbers.dtype == torch.int8
    assert scales is not None
    # -0.5 is -63.5 of 127ths, which is rounded to even; of the other row a 127th is 0.02 and 0.01.
    assert numbers.tolist() == [[127, -64, 0, 0, 0], [0, -127, 127, 2, 0]]
    torch.testing.assert_close(scales, torch.tensor([[1 / 127, 0.0], [0.02, 0.01]]))
    expected = torch.tensor([[1.0, -64 / 127, 0.0, 0.0, 0.0], [0.0, -2.54, 1.27, 0.02, 0.0]])
    torch.testing.assert_close(decode(numbers, scales, PIECES), expected)


def test_sixteen_bits_by_hand() -> None:
    numbers, scales = encode(torch.tensor([1 / 3, 1e6, -1e6, 0.0, 2.0]), PIECES, 16)
    assert (numbers.dtype, scales) == (torch.float16, None)
    assert decode(numbers, scales, PIECES).tolist() == [1365 / 4096, 65504, -65504, 0, 2]  # 11 bits of a third


@pytest.mark.parametrize(("bits", "most"), [(32, 0.0), (16, 2**-11), (8, 0.5)])
def test_a_code_comes_back_as_far_as_its_bits_hold_it(bits: int, most: float) -> None:
    code = torch.randn(7, 40, generator=torch.Generator().manual_seed(3))
    pieces = [16, 24]
    error = (decode(*encode(code, pieces, bits), pieces) - code).abs()
    unit = torch.stack([part.abs().amax(1) / 127 for part in code.split(pieces, 1)], 1)
    allowed = unit.repeat_interleave(torch.tensor(pieces), 1) if bits == 8 else code.abs()
    assert bool((error <= most * allowed * (1 + 1e-5)).all())
    assert bits == 32 or float(error.max()) > 0


def test_the_bits_of_a_block_by_hand() -> None:
    generator = torch.Generator()
    sasrec = LowRankBases(SASRec(10, 1, 5, generator), generator).pieces
    assert sasrec == [16, 192, 16, 64, 16, 64]  # 368 numbers
    assert [code_bits(sasrec, bits) for bits in (32, 16, 8)] == [11_776, 5_888, 2_944 + 6 * 32]
    assert LowRankBases(NextItNet(10, 1, 5, generator), generator).pieces == [16, 64, 16, 64]


def one_layer() -> LowRankBases:
    """A block of one layer ``(2, 3)``, changed in the direction ``(1, 2)`` times ``(1, 0, -1)``."""
    backbone: Any = SimpleNamespace(
        shapes=((2, 3),),
        blocks=1,
        initial_blocks=lambda generator: [torch.tensor([1.0, 2, 3, 4, 5, 6, 0.5, 0.5, 0.5])],
        unpack=lambda weights: [(weights[:, :6].unflatten(1, (2, 3)), weights[:, 6:])],
    )
    bases = LowRankBases(backbone, torch.Generator()).requires_grad_(False)
    bases.down[0][:, 0] = torch.tensor([1.0, 2.0])
    bases.up[0][0] = torch.tensor([1.0, 0.0, -1.0])
    return bases


def test_a_layer_is_folded_by_hand() -> None:
    bases = one_layer()
    code = torch.zeros(2, RANK + 3)
    code[0, 0], code[0, RANK:] = 3.0, torch.tensor([10.0, 20.0, 30.0])
    code[1, 1] = 5.0  # of a direction that changes nothing
    first, second = bases.fold(0, code).tolist()
    assert first == [4, 2, 0, 10, 5, 0, 10.5, 20.5, 30.5]
    assert second == [1, 2, 3, 4, 5, 6, 0.5, 0.5, 0.5]
    # Each of the 2 x 16 numbers of `down` times its gain, and the product with `up`.
    assert bases.fold_macs(2) == 2 * (2 * RANK + 2 * RANK * 3)


def mapper() -> LowRankMapper:
    generator = torch.Generator().manual_seed(0)
    found = LowRankMapper(SASRec(30, 3, 5, generator), generator).eval().requires_grad_(False)
    for parameter in [*found.up, *found.shift]:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return found


def test_a_mapper_makes_blocks_of_the_codes_that_are_sent() -> None:
    """Its counts are those of the two halves, and with fewer bits its blocks are those of rounded codes."""
    made, latent = mapper(), torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    assert made.macs(3) == made.code_macs(3) + made.fold_macs(3)
    assert made.code_macs(1) == 64 * (3 * 16 + 192 + 64 + 64)
    assert made.fold_macs(1) == 3 * 64 * 16 + 64 * 16 * (192 + 64 + 64)
    code = made.codes(1, latent)
    torch.testing.assert_close(code[:, 16:208], latent @ made.shift[3])
    torch.testing.assert_close(made.block(1, latent), made.fold(1, code), rtol=0, atol=0)
    exact = made.block(1, latent)
    made.bits = 8
    rounded = made.fold(1, decode(*encode(code, made.pieces, 8), made.pieces))
    torch.testing.assert_close(made.block(1, latent), rounded, rtol=0, atol=0)
    assert not torch.equal(rounded, exact)


def test_blocks_are_made_for_the_devices_that_have_them_and_each_as_alone() -> None:
    made, latent = mapper(), torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    paths = [[0, 2], [], [2]]
    given = [dict.fromkeys(path, one) for path, one in zip(paths, latent, strict=True)]
    asked: list[tuple[int, int]] = []

    def make(k: int, rows: torch.Tensor) -> torch.Tensor:
        asked.append((k, len(rows)))
        return made.block(k, rows)

    together = by_device(make, given)
    assert asked == [(0, 1), (2, 2)]
    assert [list(mine) for mine in together] == paths
    for mine, alone in zip(together, given, strict=True):
        (expected,) = by_device(made.block, [alone])
        for k, block in mine.items():
            torch.testing.assert_close(block, expected[k])
