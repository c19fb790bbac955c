"""A device's own network as one module computes what the devices' axis computes."""

import pytest
import torch

from models.checkpoint import BACKBONES, Sizes
from models.device_part import DevicePart
from models.shared.gater import GatedNetwork
from models.standalone import Standalone, fresh

WINDOWS = torch.tensor([[3, 1, 4, 1, 5], [0, 0, 0, 9, 2], [0, 6, 5, 3, 5]])


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_one_device_alone_scores_as_among_others(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    backbone = Sizes(name, num_items=20, blocks=4, context=5).build(generator)
    blocks = backbone.initial_blocks(generator)
    path = [1, 3]
    keep = torch.tensor([[k in path for k in range(4)]])
    with torch.no_grad():
        states = backbone.encode(WINDOWS.unsqueeze(0), lambda k, rows: blocks[k].unsqueeze(0), keep=keep)
        expected = backbone.score(states)[0, :, -1]
        module = Standalone(backbone, path, [blocks[k].unsqueeze(0) for k in path])
        for window, scores in zip(WINDOWS.split(1), expected.split(1), strict=True):
            torch.testing.assert_close(module(window), scores)
        other = Standalone(backbone, path, [blocks[k].unsqueeze(0) for k in (0, 2)])
    assert not torch.allclose(other(WINDOWS[:1]), expected[:1])
    assert sorted(key for key in module.state_dict() if key.startswith("block")) == ["block1", "block3"]


def test_units_that_a_window_switches_off_are_off() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    backbone = Sizes("sasrec", num_items=20, blocks=2, context=5).build(generator)
    part = DevicePart(backbone, controller=False, interest=False)
    network = GatedNetwork(backbone, generator).eval()
    network.gates.bias.data.uniform_(-1, 1)
    units = network.units(part, WINDOWS.unsqueeze(0))
    assert 0 < units.mean() < 1
    with torch.no_grad():
        states = backbone.encode(WINDOWS.unsqueeze(0), lambda k, rows: network[k], units=units)
        module = Standalone(backbone, range(2), [network[0], network[1]], (network, part))
        torch.testing.assert_close(module(WINDOWS[1:2]), backbone.score(states)[0, 1:2, -1])


def test_fresh_networks_hold_as_many_blocks_as_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    backbone = Sizes("nextitnet", num_items=20, blocks=3, context=5).build(generator)
    assert [len(fresh(backbone, count, generator).path) for count in (0, 1, 3)] == [0, 1, 3]
