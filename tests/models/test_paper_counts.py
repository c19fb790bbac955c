"""The paper's constants, to the last digit (Tables 1 and 5; reading notes, sections 0 and B)."""

import numpy as np
import pytest
import torch

from models.backbones.nextitnet import NextItNet
from models.backbones.sasrec import SASRec
from models.cloud_models import AdaptiveModel
from models.device_part import Controller, Extractor
from models.hypernetwork import Mapper
from models.shared.rare_gem import RareGemModel
from models.shared.sttd import FactoredNetwork


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


def test_device_modules_multiply_as_in_table_5(sasrec: SASRec, nextitnet: NextItNet) -> None:
    modules = [AdaptiveModel(b, torch.Generator(), controller=True).device_part for b in (sasrec, nextitnet)]
    assert [part.paper_request_macs(5) for part in modules] == [254_464, 254_848]


def test_one_head_multiplies_as_the_cloud_in_table_5(sasrec: SASRec, nextitnet: NextItNet) -> None:
    # The paper counts the largest of the generators that run in parallel: one matrix, without the biases of a block.
    assert 64 * sasrec.inputs * 64 == 262_144
    assert 64 * nextitnet.inputs * 64 == 786_432
    assert Mapper(sasrec, torch.Generator()).macs(6) == 6 * 64 * 20_800 == 7_987_200
    assert Mapper(nextitnet, torch.Generator()).macs(12) == 12 * 64 * 24_704 == 18_972_672


def test_sttd_of_table_1_on_sasrec(sasrec: SASRec) -> None:
    taken = FactoredNetwork(sasrec, torch.Generator()).footprint(sasrec, 5, np.ones(6, dtype=bool))
    assert (64 * 48 + 24 * 32) + 64 == 3_904
    assert taken.weights == 6 * 5 * 3_904 == 117_120
    assert 32 * taken.weights == 3_747_840
    assert taken.macs_paper == 624_400 + 6 * 5 * 98_304 == 3_573_520
    assert taken.macs == sasrec.inference_macs(5, 6) + 6 * 5 * 98_304


def test_sttd_on_nextitnet_is_the_nearest_there_is(nextitnet: NextItNet) -> None:
    taken = FactoredNetwork(nextitnet, torch.Generator()).footprint(nextitnet, 5, np.ones(12, dtype=bool))
    assert 32 * taken.weights == 4_263_936
    assert taken.macs_paper == 1_505_280 + 24 * 122_880 == 4_454_400


def test_rare_gem_of_table_1_keeps_171200_weights_of_nextitnet(nextitnet: NextItNet) -> None:
    model = RareGemModel(nextitnet, torch.Generator())
    assert model.total == 299_520
    model.prune(171_200)
    taken = model.network.footprint(nextitnet, 5, np.ones(12, dtype=bool))
    assert 32 * taken.weights == 5_478_400
    assert taken.macs_paper == 1_505_280
