"""The paper's constants, to the last digit (Tables 1 and 5; reading notes, sections 0 and B)."""

import pytest
import torch

from models.adaptation import Controller, Extractor, Mapper
from models.nextitnet import NextItNet
from models.sasrec import SASRec


def weights(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def sasrec() -> SASRec:
    return SASRec(num_items=20, blocks=6, context=5, generator=torch.Generator())


@pytest.fixture
def nextitnet() -> NextItNet:
    return NextItNet(num_items=20, blocks=12, context=5, generator=torch.Generator())


def test_sasrec_block_has_20800_weights_and_the_network_3_9936_mbit(sasrec: SASRec) -> None:
    assert sasrec.block_size == 20_800
    assert len(sasrec.initial_block(0, torch.Generator())) == 20_800
    assert 6 * (sasrec.block_size + sasrec.static_block_weights()) * 32 == 3_993_600


def test_nextitnet_generates_24704_weights_a_block_and_has_9_5846_mbit(nextitnet: NextItNet) -> None:
    assert nextitnet.block_size == 24_704
    assert nextitnet.static_block_weights() == 256
    assert weights(nextitnet) - 21 * 64 - 5 * 64 == 12 * 256
    assert 12 * (nextitnet.block_size + nextitnet.static_block_weights()) * 32 == 9_584_640


def test_inference_macs_of_table_1(sasrec: SASRec, nextitnet: NextItNet) -> None:
    assert sasrec.paper_macs(5, 6) == 624_400
    assert nextitnet.paper_macs(5, 12) == 1_505_280


@pytest.mark.parametrize("k", range(7))
def test_forward_ofa_rows_follow_the_blocks_that_run(sasrec: SASRec, nextitnet: NextItNet, k: int) -> None:
    assert sasrec.paper_macs(5, k) == 10_000 + 102_400 * k
    assert nextitnet.paper_macs(5, k) == 30_720 + 122_880 * k


def test_cloud_holds_8_1120_and_19_2691_million_weights(sasrec: SASRec, nextitnet: NextItNet) -> None:
    assert weights(Mapper(sasrec, torch.Generator())) == 8_112_000
    assert weights(Mapper(nextitnet, torch.Generator())) == 19_269_120


@pytest.mark.parametrize(("blocks", "expected"), [(6, 50_310), (12, 50_700)])
def test_device_modules_of_table_5(blocks: int, expected: int) -> None:
    assert weights(Controller(blocks)) + weights(Extractor()) == expected
