"""Networks that devices make of an installed one: masks and bits a channel, by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clients.budget import Budget
from models.backbones.base import Backbone
from models.checkpoint import BACKBONES, Installed, Sizes, device_file, load_device, load_mapper, save_model
from models.cloud_models import SpecialisedModel
from models.coding import ChoiceCoding
from models.shared.masked import MaskedNetwork, MaskMapper, _Masked
from models.shared.mixed import CHOICES, TERNARY_STEP, MixedNetwork, PrecisionMapper, on_grid

NAMES = list(BACKBONES)


def build(name: str = "sasrec") -> Backbone:
    return BACKBONES[name](20, 2, 5, torch.Generator().manual_seed(1)).eval()


def model(mapper: type[MaskMapper] | type[PrecisionMapper], name: str = "sasrec") -> SpecialisedModel:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(2)
    made = SpecialisedModel(build(name), generator, mapper=mapper).eval()
    with torch.no_grad():
        for weights in made.mapper.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator) * 0.1)
    return made


# -- DIET ----------------------------------------------------------------------------------------------------------


def test_a_mask_switches_weights_by_hand() -> None:
    """Bit i of byte j is weight 8 j + i of the matrices: byte 1,536 is the first of the second one, of 64 x 64, which
    begins behind 64 x 192 weights and 192 biases."""
    network = MaskedNetwork(build(), torch.Generator().manual_seed(0))
    assert network.choice_bytes == 20_480 // 8
    choices = torch.zeros(2, 2_560, dtype=torch.uint8)
    choices[0, 0], choices[1, 1_536] = 0b101, 0b1000_0000
    made = network.specialise(1, choices)
    assert made[0].nonzero().flatten().tolist() == [0, 2]
    assert made[1].nonzero().flatten().tolist() == [64 * 192 + 192 + 7]
    assert made[made != 0].abs().tolist() == pytest.approx([2**-2.5] * 3)  # root of 2 times the root of 2 / 128
    assert torch.equal(network.packed(made != 0), choices)


def test_the_frozen_weights_are_signs_that_follow_from_the_seed() -> None:
    network = MaskedNetwork(build(), torch.Generator().manual_seed(0))
    one, other = network.stored(0), network.stored(1)
    assert one[network.matrices].abs().unique().numel() == 1
    assert (one[~network.matrices] == 0).all()
    assert 0.45 < float((one > 0).float().sum() / 20_480) < 0.55
    assert not torch.equal(one, other)
    again = MaskedNetwork(build(), torch.Generator().manual_seed(9))
    assert not torch.equal(again.stored(0), one)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.stored(0), one)
    assert not list(network.parameters())


def test_the_gradient_of_a_score_is_that_of_its_weights_factor() -> None:
    scores = torch.tensor([0.5, -0.5, 0.0], requires_grad=True)
    made = _Masked.apply(scores, torch.tensor([2.0, 3.0, -4.0]))
    assert made.tolist() == [2, 0, 0]
    made.sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [2, 3, -4]


def test_a_device_keeps_two_bits_a_weight_and_was_installed_a_seed() -> None:
    network, backbone = MaskedNetwork(build(), torch.Generator()), build()
    path = np.array([True, False])
    taken = network.specialised_footprint(backbone, 5, path, {0: np.zeros(2_560, np.uint8)})
    assert [taken.bits(bits) for bits in (32, 8)] == [2 * 20_480] * 2
    assert taken.macs == backbone.inference_macs(5, 1)
    assert network.installed_bits(backbone, 32) == 64
    assert ChoiceCoding(network).bits == 20_480


# -- CHORD ---------------------------------------------------------------------------------------------------------


def test_channels_on_their_grids_by_hand() -> None:
    channel = torch.tensor([[0.7], [-0.3], [0.1], [0.0]])
    assert on_grid(channel, 4).flatten().tolist() == pytest.approx([0.7, -0.3, 0.1, 0.0])
    assert on_grid(channel, 6).flatten().tolist() == pytest.approx([0.7, -13 * 0.7 / 31, 4 * 0.7 / 31, 0.0])
    step = 1.224 * (0.59 / 4) ** 0.5  # 0.47: of which 0.7 is 1.49, -0.3 is -0.64
    assert on_grid(channel, 2).flatten().tolist() == pytest.approx([step, -step, 0.0, 0.0])
    assert on_grid(torch.zeros(4, 1), 2).abs().max() == 0


def test_three_levels_are_the_best_ones_for_a_normal_distribution() -> None:
    x = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2)
    errors = {
        step: float((density * (x - (x / step).round().clamp(-1, 1) * step).square()).sum())
        for step in np.arange(1.15, 1.30, 0.001).tolist()
    }
    assert min(errors, key=lambda step: errors[step]) == pytest.approx(TERNARY_STEP, abs=0.002)


def test_two_bits_a_channel_by_hand() -> None:
    network = MixedNetwork(build(), torch.Generator().manual_seed(0))
    assert network.choice_bytes == 80  # 320 channels
    chosen = torch.tensor([[1, 2, 3, 0, 3] + [0] * 315])
    packed = network.packed(chosen)
    assert packed[0, :2].tolist() == [1 + 2 * 4 + 3 * 16, 3]
    assert network.unpacked(packed).tolist() == chosen.tolist()
    made = network.specialise(0, packed)
    for place, (matrix, bias) in enumerate(network.unpack(made)):
        whole, its = network.unpack(network[0])[place]
        assert torch.equal(bias, its)
        for channel in range(matrix.shape[2]):
            number = int(chosen[0, channel]) if place == 0 else 0
            assert torch.equal(matrix[0, :, channel], on_grid(whole, CHOICES[number])[0, :, channel])


def test_a_network_takes_the_bits_of_its_channels() -> None:
    network, backbone = MixedNetwork(build(), torch.Generator().manual_seed(0)), build()
    path = np.array([True, False])
    choices = np.full(80, 0b01_01_01_01, np.uint8)  # four bits for all
    taken = network.specialised_footprint(backbone, 5, path, {0: choices})
    assert taken.bits(32) == taken.bits(8) == 320 * 64 * 4 + 320 * 32 + 320 * 32
    assert network.least(backbone, 5, path).bits() == 320 * 64 * 2 + 320 * 64
    assert network.footprint(backbone, 5, path).bits() == 320 * 64 * 8 + 320 * 64
    assert network.installed_bits(backbone, 32) == 2 * 665_600
    assert network.installed_bits(backbone, 8) == 2 * 184_320


def test_the_network_that_choices_specialise_stays_in_a_devices_memory() -> None:
    """Beside the one that it runs, whose channels may take 8 bits: 2 blocks of 184,320 bits in both. DIET keeps a
    seed, and 2 bits of each of 20,480 weights of a block."""
    for mapper, kept, runs in ((PrecisionMapper, 368_640, 184_320), (MaskMapper, 64, 40_960)):
        made = model(mapper)
        installed = Installed(made.device_part, made.network, None, "all").at(8)
        assert installed.making_bits == kept
        assert Budget(model_bits=kept + 2 * runs, bits=8).blocks_to_run(installed, 5) == 2
        assert Budget(model_bits=kept + 2 * runs - 1, bits=8).blocks_to_run(installed, 5) == 1
        bare = Installed(made.device_part, None, None, "all").at(8)
        assert installed.bits == bare.bits + kept  # installed once


# -- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mapper", [MaskMapper, PrecisionMapper])
@torch.no_grad()
def test_what_training_runs_is_what_a_device_makes_of_its_choice(
    tmp_path: Path, mapper: type[MaskMapper] | type[PrecisionMapper], name: str
) -> None:
    made = model(mapper, name)
    backbone, latent = made.device_part.backbone, torch.randn(3, 64, generator=torch.Generator().manual_seed(5))
    windows = torch.randint(1, 21, (3, 2, 5), generator=torch.Generator().manual_seed(6))

    def applied(k: int, rows: torch.Tensor | None) -> object:
        if isinstance(made.mapper, PrecisionMapper):
            return made.mapper.applied(k, made.mapper.gates(k, latent, None, 1.0))
        return made.mapper.applied(k, latent)

    trained = backbone.encode(windows, applied)  # type: ignore[arg-type]
    file = tmp_path / "model.safetensors"
    save_model(file, made, Sizes(name, 20, 2, 5), {"memory": 5})
    installed, cloud = load_device(device_file(file)[1]), load_mapper(file)
    assert installed.fetches
    assert isinstance(cloud, MaskMapper | PrecisionMapper)
    assert isinstance(installed.network, MaskedNetwork | MixedNetwork)
    choices = [cloud.choose(k, latent) for k in range(2)]
    assert not torch.equal(choices[0][0], choices[0][1])  # devices get different ones
    network = installed.network
    own = installed.part.backbone.encode(windows, lambda k, rows: network.specialise(k, choices[k]))
    torch.testing.assert_close(own, trained, rtol=1e-4, atol=1e-4)
    assert torch.equal(network.specialise(1, choices[1]), cloud.block(1, latent))


def test_gates_drawn_in_training_pick_one_choice_and_have_the_gradient_of_the_softmax() -> None:
    mapper = model(PrecisionMapper).mapper
    assert isinstance(mapper, PrecisionMapper)
    latent = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    gates = mapper.gates(0, latent, torch.Generator().manual_seed(2), 1.0)
    assert gates.shape == (4, 4, 320)
    torch.testing.assert_close(gates.sum(1), torch.ones(4, 320))
    assert ((gates - gates.round()).abs() < 1e-6).all()
    gates[:, 0].sum().backward()
    assert mapper.biases[0].grad is not None
    of_first, others = mapper.biases[0].grad.view(4, 320)[0], mapper.biases[0].grad.view(4, 320)[1:]
    assert (of_first > 0).all()
    torch.testing.assert_close(of_first, -others.sum(0), rtol=1e-4, atol=1e-6)
