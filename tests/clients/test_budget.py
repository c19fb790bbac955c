"""How many blocks a budget is, by hand, and that a path is cut by the keep-logits."""

import math

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from clients import inference
from clients.budget import BUDGET, NOTHING_FITS, Budget
from clients.fields import BadMessage
from clients.messages import Decline, RequestRules, pack_decline, read_request
from models.backbones.sasrec import SASRec
from models.checkpoint import Installed
from models.cloud_models import AdaptiveModel, StaticModel
from models.delivery import Delivery
from models.device_part import DevicePart
from models.hypernetwork import LowRankBases, LowRankMapper
from models.shared.gater import GatedNetwork
from models.shared.plain import Network, footprint
from models.shared.rare_gem import SparseNetwork
from models.shared.sttd import FactoredNetwork

ITEMS, BLOCKS, CONTEXT = 100, 6, 10
BLOCK_MACS = 5 * 10 * 4096 + 2 * 100 * 64  # 217,600
SCORING = ITEMS * 64  # 6,400
BLOCK_BITS = 20_800 * 32


def part(*, controller: bool = True) -> DevicePart:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    return AdaptiveModel(SASRec(ITEMS, BLOCKS, CONTEXT, generator), generator, controller=controller).device_part.eval()


def on_device(delivery: str = "weights") -> Installed:
    """Forward-OFA's device part; with another delivery what a device makes blocks of."""
    if delivery == "weights":
        return Installed(part(), None, None, "all")
    generator = torch.Generator()
    backbone = SASRec(ITEMS, BLOCKS, CONTEXT, generator)
    maker = (LowRankMapper if delivery == "local" else LowRankBases)(backbone, generator)
    return Installed(part(), None, None, "all", delivery=Delivery.named(delivery), mapper=maker)


def fetch(budget: Budget) -> int:
    return budget.blocks_to_fetch(on_device(), CONTEXT, items=50)


@pytest.mark.parametrize("wrong", [1, True, [1.0], "1.0"])
def test_a_budget_of_another_type_is_refused_though_an_equal_one_was_read(wrong: object) -> None:
    told = Budget(macs=1.0)
    assert Budget.of(Message(RecordDict({BUDGET: told.record()}), dst_node_id=1, message_type="train")) == told
    record = ConfigRecord({**told.record(), "macs": wrong})  # type: ignore[dict-item]
    with pytest.raises(BadMessage, match=f"macs is of type {type(wrong).__name__}, expected float"):
        Budget.of(Message(RecordDict({BUDGET: record}), dst_node_id=1, message_type="train"))


def test_each_ceiling_alone_by_hand() -> None:
    assert fetch(Budget()) == 6
    assert fetch(Budget(macs=SCORING + 3 * BLOCK_MACS)) == 3
    assert fetch(Budget(macs=SCORING + 3 * BLOCK_MACS - 1)) == 2
    assert fetch(Budget(model_bits=4 * BLOCK_BITS)) == 4
    assert fetch(Budget(update_bits=BLOCK_BITS * 1.99)) == 1
    assert fetch(Budget(macs=SCORING + 5 * BLOCK_MACS, model_bits=4 * BLOCK_BITS, update_bits=3 * BLOCK_BITS)) == 3


def test_energy_counts_extractors_traffic_tail_and_the_planned_predictions() -> None:
    # GRUs over 50 items: 2 x 50 x 24,576 and H 64 x 6; request 2,048 + 8 bits up; two blocks and 8 bits down.
    extractors = 2 * 50 * 24_576 + 384
    joules = (10 * (SCORING + 2 * BLOCK_MACS) + extractors) * 2e-9 + (2 * BLOCK_BITS + 8) * 1e-7 + 2056 * 1e-6 + 3
    rates = {
        "predictions": 10,
        "joules_per_mac": 2e-9,
        "joules_per_bit_down": 1e-7,
        "joules_per_bit_up": 1e-6,
        "joules_tail": 3.0,
    }
    assert fetch(Budget(joules=joules * (1 + 1e-9), **rates)) == 2
    assert fetch(Budget(joules=joules * (1 - 1e-9), **rates)) == 1
    # What is there already needs no radio: 10 x (6,400 + 6 x 217,600) MACs at 2 nJ are 26 mJ.
    assert Budget(joules=0.027, **rates).blocks_to_run(on_device(), CONTEXT) == 6
    backbone = part().backbone
    all_of_them, but_one = (footprint(backbone, CONTEXT, np.arange(BLOCKS) < k) for k in (6, 5))
    assert not Budget(joules=0.027, **rates).fits(all_of_them, once=10**6)
    assert Budget(joules=0.027, **rates).fits(but_one, once=10**6)
    assert fetch(Budget(joules=2.9, **rates)) == NOTHING_FITS


def test_what_makes_blocks_takes_memory_and_energy_by_hand() -> None:
    bases = 32 * BLOCKS * (20_800 + 3 * 64 * 16 + 16 * 320)
    mapper = bases + 32 * BLOCKS * (3 * 64 * 16 + 64 * 320)
    for delivery, kept in (("code-8", bases), ("code-32", bases), ("local", mapper)):
        maker = on_device(delivery)
        for blocks in (0, 4, 6):
            for budget in (Budget(model_bits=kept + blocks * BLOCK_BITS), Budget(model_bits=kept - 1)):
                expected = NOTHING_FITS if budget.model_bits < kept else blocks
                assert budget.blocks_to_fetch(maker, CONTEXT, items=50) == expected
                assert budget.blocks_to_run(maker, CONTEXT) == expected
    # A code of 8 bits: 368 numbers and six scales a block. With `local` nothing comes down at all.
    code = 368 * 8 + 6 * 32
    assert Budget(update_bits=3 * code).blocks_to_fetch(on_device("code-8"), CONTEXT, items=50) == 3
    assert Budget(update_bits=3 * code - 1).blocks_to_fetch(on_device("code-8"), CONTEXT, items=50) == 2
    assert Budget(update_bits=0).blocks_to_fetch(on_device("local"), CONTEXT, items=50) == 6
    # Energy of two blocks: extractors and mapper, no radio; and with a code of it: folding, and the radio's tail.
    extractors, fold, codes = 2 * 50 * 24_576 + 384, 3 * 64 * 16 + 64 * 16 * 320, 64 * (3 * 16 + 320)
    joules = (SCORING + 2 * BLOCK_MACS + extractors + 2 * (fold + codes)) * 1e-9
    rates = {"predictions": 1, "joules_per_mac": 1e-9, "joules_per_bit_down": 1.0, "joules_tail": 5.0}
    assert Budget(joules=joules * (1 + 1e-9), **rates).blocks_to_fetch(on_device("local"), CONTEXT, items=50) == 2
    assert Budget(joules=joules * (1 - 1e-9), **rates).blocks_to_fetch(on_device("local"), CONTEXT, items=50) == 1
    joules = (SCORING + 2 * BLOCK_MACS + extractors + 2 * fold) * 1e-9 + 2 * code + 8 + 5
    assert Budget(joules=joules * (1 + 1e-12), **rates).blocks_to_fetch(on_device("code-8"), CONTEXT, items=50) == 2
    assert Budget(joules=joules * (1 - 1e-9), **rates).blocks_to_fetch(on_device("code-8"), CONTEXT, items=50) == 1


def test_below_one_block_is_no_block_and_below_the_scoring_nothing() -> None:
    assert fetch(Budget(update_bits=1)) == 0
    assert fetch(Budget(macs=SCORING)) == 0
    assert fetch(Budget(macs=SCORING - 1)) == NOTHING_FITS
    assert Budget(macs=SCORING - 1).blocks_to_run(on_device(), CONTEXT) == NOTHING_FITS


def test_a_budget_travels_with_its_infinities() -> None:
    budget = Budget(macs=5.5, predictions=3)
    message = Message(RecordDict({BUDGET: budget.record()}), dst_node_id=1, message_type="train")
    assert Budget.of(message) == budget
    assert Budget.of(message).joules == math.inf
    assert Budget.of(Message(RecordDict(), dst_node_id=1, message_type="train")) == Budget()


def test_the_least_probable_blocks_are_dropped_and_no_others_taken() -> None:
    model = part()
    assert model.controller is not None
    model.controller.head.weight.data.zero_()
    model.controller.head.bias.data = torch.tensor([0.5, -1.0, 2.0, 0.1, 3.0, -0.1])  # keeps blocks 1, 3, 4 and 5
    history, lengths = torch.ones(6, 3, dtype=torch.long), torch.full((6,), 3)
    found = inference.request(model, history, lengths, torch.tensor([6, 4, 3, 2, 1, 0]))
    masks = ["".join("01"[bit] for bit in row) for row in found.path.int().tolist()]
    assert masks == ["101110", "101110", "101010", "001010", "000010", "000000"]
    free = inference.request(model, history, lengths)
    assert free.path.tolist() == found.path[:1].expand(6, -1).tolist()
    torch.testing.assert_close(free.latent, found.latent)


def test_a_device_that_asks_for_nothing_is_no_breach_of_the_protocol() -> None:
    def message(content: RecordDict) -> Message:
        return Message(content, dst_node_id=1, message_type="train")

    assert read_request(message(RecordDict(pack_decline(5))), RequestRules(6)) == Decline(5)
    assert pack_decline()["measured"] == MetricRecord({"macs": 0})


STTD_BITS = (64 * 48 + 48 * 64 // 4 + 64) * 5 * 32  # a block's five pairs of matrices and biases
STTD_MACS = 5 * 64 * 64 * 48 // 2  # that build the five layers of a block again
GATING = 10 * 24_576 + 64 * 32 + 32 * 6 * 320


def installed(kind: type[Network]) -> Network:
    generator = torch.Generator().manual_seed(0)
    network = kind(SASRec(ITEMS, BLOCKS, CONTEXT, generator), generator)
    if isinstance(network, SparseNetwork):
        for k in range(BLOCKS):
            network.kept(k)[:1000] = False
    if isinstance(network, GatedNetwork):
        network.used[:, :20] = False  # of 320 units a block
    return network


@pytest.mark.parametrize(
    ("kind", "bits", "macs"),
    [
        (Network, 6 * BLOCK_BITS, SCORING + 6 * BLOCK_MACS),
        (FactoredNetwork, 6 * STTD_BITS, SCORING + 6 * (BLOCK_MACS + STTD_MACS)),
        (SparseNetwork, 6 * (BLOCK_BITS - 32_000), SCORING + 6 * BLOCK_MACS),
        (GatedNetwork, 6 * (BLOCK_BITS - 32 * 20 * 65), SCORING + 6 * (BLOCK_MACS - 20 * 640) + GATING),
    ],
)
def test_an_installed_network_is_priced_as_what_it_is(kind: type[Network], bits: int, macs: int) -> None:
    backbone = part().backbone
    taken = installed(kind).footprint(backbone, CONTEXT, np.ones(BLOCKS, dtype=bool))
    assert Budget(macs=macs, model_bits=bits).fits(taken)
    assert not Budget(macs=macs - 1).fits(taken)
    assert not Budget(model_bits=bits - 1).fits(taken)
    energy = Budget(joules=10.0 * macs + 7, predictions=10, joules_per_mac=1.0)
    assert energy.fits(taken, once=7)
    assert not energy.fits(taken, once=8)


def test_a_controllers_path_is_cut_until_the_installed_network_fits() -> None:
    generator = torch.Generator().manual_seed(0)
    model = StaticModel(SASRec(ITEMS, BLOCKS, CONTEXT, generator), generator, controller=True, network=FactoredNetwork)
    controller = model.device_part.controller
    assert controller is not None
    controller.head.weight.data.zero_()
    controller.head.bias.data = torch.tensor([0.5, -1.0, 2.0, 0.1, 3.0, -0.1])  # keeps blocks 1, 3, 4 and 5
    history, lengths = torch.ones(4, 3, dtype=torch.long), torch.full((4,), 3)
    budgets = [Budget(model_bits=b) for b in (2 * BLOCK_BITS, 2 * STTD_BITS, 2 * STTD_BITS - 1, STTD_BITS - 1)]

    def fits(d: int, path: np.ndarray) -> bool:
        return budgets[d].fits(model.network.footprint(model.device_part.backbone, CONTEXT, path))

    found = inference.path(model.device_part.eval(), history, lengths, fits)
    masks = ["".join("01"[bit] for bit in row) for row in found.astype(int).tolist()]
    assert masks == ["001010", "001010", "000010", "000000"]  # two plain blocks have room for two of STTD's, not three
