"""How the blocks of a network travel: bits by hand, and what cannot be a network is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flwr.app import Array, Message, RecordDict

from clients.fields import BadMessage
from clients.messages import NETWORK, array_bits, pack_network, read_network
from models.arithmetic import ARITHMETICS
from models.checkpoint import BACKBONES
from models.coding import Coding, weight_coding

BACKBONE = BACKBONES["sasrec"](20, 2, 5, torch.Generator().manual_seed(0))
PATH = np.array([False, True])


def block() -> np.ndarray:
    return BACKBONE.initial_block(0, torch.Generator().manual_seed(3)).numpy() + np.float32(0.01)


def message(coding: Coding, change: Callable[[RecordDict], None] = lambda content: None) -> Message:
    content = RecordDict({NETWORK: pack_network(PATH, {1: block()}, coding)})
    change(content)
    return Message(content, dst_node_id=1, message_type="evaluate")


@pytest.mark.parametrize(("bits", "sent"), [(32, 665_600), (16, 332_800), (8, 184_320)])
def test_a_block_takes_the_bits_of_its_arrays(bits: int, sent: int) -> None:
    """20,480 weights and 320 biases; with 8 bits, 320 scales beside them, and these and the biases in 32."""
    coding = weight_coding(BACKBONE, bits)
    assert coding.bits == sent
    assert array_bits(message(coding).content.array_records[NETWORK]) == sent + 8


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_what_arrives_is_what_the_device_would_have_stored(bits: int) -> None:
    coding, arithmetic = weight_coding(BACKBONE, bits), ARITHMETICS[bits]
    path, blocks = read_network(message(coding), 2, coding)
    assert path.tolist() == PATH.tolist()
    assert blocks[1].dtype == np.float32
    found, known = (BACKBONE.unpack(torch.from_numpy(x).unsqueeze(0)) for x in (blocks[1], block()))
    for (matrix, bias), (whole, its) in zip(found, known, strict=True):
        assert torch.equal(matrix, arithmetic.stored(whole, 1))
        assert torch.equal(bias, arithmetic.beside(its))
        assert torch.equal(matrix, whole) == (bits == 32)


def put(name: str, value: np.ndarray | None) -> Callable[[RecordDict], None]:
    def change(content: RecordDict) -> None:
        if value is None:
            del content.array_records[NETWORK][name]
        else:
            content.array_records[NETWORK][name] = Array(value)

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (put("block.1", np.full(20_480, -128, np.int8)), "block 1: block holds -128, expected -127 to 127"),
        (put("scale.1", np.zeros(320, np.float32)), "block 1: scale holds 0, expected numbers above 0"),
        (put("scale.1", np.full(320, np.nan, np.float32)), "scale.1 holds numbers that are not finite"),
        (put("bias.1", np.zeros(319, np.float32)), "bias.1 is 'float32' (319,)"),
        (put("block.1", np.zeros(20_800, np.float32)), "block.1 is 'float32' (20800,), expected int8"),
        (put("scale.1", None), "lacks scale.1, which its path names"),
        (put("scale.0", np.ones(320, np.float32)), "holds 'scale.0', which its path does not name"),
    ],
)
def test_what_cannot_be_a_network_of_integers_is_refused(change: Callable[[RecordDict], None], why: str) -> None:
    coding = weight_coding(BACKBONE, 8)
    with pytest.raises(BadMessage) as found:
        read_network(message(coding, change), 2, coding)
    assert why in str(found.value)
