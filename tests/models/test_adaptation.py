"""Gates, the compact constraint, extractors and mapper: equations 4, 5, 8 to 11 by hand."""

import math

import torch

from models.backbones.sasrec import SASRec
from models.cloud_models import AdaptiveModel
from models.device_part import DevicePart, Extractor, chosen_path, compact_constraint, sample_gates
from models.hypernetwork import Mapper, generate


def backbone() -> SASRec:
    return SASRec(20, 2, 5, torch.Generator().manual_seed(0))


def test_compact_constraint_by_hand() -> None:
    # -log(1 / (1 + e^beta)) summed over blocks: logits 0 and ln 3 give ln 2 + ln 4; -ln 3 twice gives 2 ln(4/3)
    logits = torch.tensor([[0.0, math.log(3)], [-math.log(3), -math.log(3)]])
    expected = (math.log(2) + math.log(4) + 2 * math.log(4 / 3)) / 2
    assert math.isclose(compact_constraint(logits).item(), expected, rel_tol=1e-6)


def test_the_compact_constraint_pushes_towards_skipping() -> None:
    logits = torch.zeros(3, 4, requires_grad=True)
    compact_constraint(logits).backward()
    assert (logits.grad > 0).all()


def test_gates_are_binary_and_follow_the_sigmoid_of_the_logit() -> None:
    logits = torch.tensor([[-2.0, 0.0, 1.5]]).expand(40_000, 3)
    gates = sample_gates(logits, temperature=7.0, generator=torch.Generator().manual_seed(0))
    assert set(gates.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(gates.mean(0), torch.sigmoid(logits[0]), rtol=0, atol=0.01)


def test_the_gradient_of_a_gate_is_that_of_the_relaxed_probability() -> None:
    logits = torch.tensor([[0.3, -0.8]], requires_grad=True)
    gates = sample_gates(logits, 5.0, torch.Generator().manual_seed(7))
    gates.sum().backward()
    uniform = torch.rand(1, 2, generator=torch.Generator().manual_seed(7))
    soft = torch.sigmoid((logits.detach() + torch.log(uniform / (1 - uniform))) / 5.0)
    torch.testing.assert_close(logits.grad, soft * (1 - soft) / 5.0)


def test_right_padding_does_not_reach_the_extractor() -> None:
    torch.manual_seed(0)
    extractor = Extractor()
    short = torch.randn(1, 3, 64)
    padded = torch.cat([short, torch.full((1, 4, 64), 9.0)], dim=1)
    lengths = torch.tensor([3])
    torch.testing.assert_close(extractor(short, lengths), extractor(padded, lengths))


def test_a_head_is_one_linear_layer_from_latent_interest_to_weights() -> None:
    mapper = Mapper(backbone(), torch.Generator().manual_seed(1)).eval()
    latent = torch.randn(3, 64)
    expected = latent / 8 @ mapper.heads[1] + mapper.base[1]
    torch.testing.assert_close(mapper.block(1, latent), expected)
    assert mapper.macs(2) == 2 * 64 * 20_800


def test_a_path_has_the_most_probable_blocks_within_the_budget() -> None:
    logits = torch.tensor([[0.4, 0.8, 1.2, -0.9]]).expand(4, 4)
    assert chosen_path(logits, torch.tensor([1, 2, 3, 4])).int().tolist() == [
        [0, 0, 1, 0],
        [0, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 0],
    ]


def test_the_interest_extractor_starts_from_the_structure() -> None:
    torch.manual_seed(0)
    part = DevicePart(backbone(), controller=True, interest=True).eval()
    embedded, lengths = torch.randn(1, 4, 64), torch.tensor([4])
    logits = torch.tensor([[1.0, -2.0]])
    start = torch.zeros(1, 1, 64)
    start[0, 0, :2] = logits
    states, _ = part.interest.gru(embedded, start)
    torch.testing.assert_close(part.latent(embedded, lengths, logits), states[:, -1])
    assert not torch.allclose(part.latent(embedded, lengths, None), states[:, -1])


def test_extractor_macs_against_torchs_own_counter_of_the_same_products() -> None:
    part = AdaptiveModel(backbone(), torch.Generator(), controller=True).device_part
    # two GRUs: 3 gates, input and state, 64 x 64 each, for every item; one layer H of 64 x 2
    assert part.request_macs(5) == 2 * 5 * 6 * 4096 + 128


def test_the_network_for_a_history_and_a_path_is_the_heads_applied_to_the_interest_on_that_path() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    shape = backbone()
    part = DevicePart(shape, controller=True, interest=True, structure="path").eval()
    mapper = Mapper(shape, generator).eval()
    history, lengths = torch.tensor([[3, 7, 0], [5, 1, 9]]), torch.tensor([2, 3])
    path = torch.tensor([[True, False], [True, True]])
    weights = generate(part, mapper, history, lengths, path)
    assert part.interest is not None
    for device, start in enumerate(([1.0, -1.0], [1.0, 1.0])):  # 1 for a block that runs, -1 for one that does not
        items = part.embed_history(history[device : device + 1, : int(lengths[device])])
        first = torch.zeros(1, 64)
        first[0, :2] = torch.tensor(start)
        interest = part.interest.gru(items, first.unsqueeze(0))[0][0, -1]
        expected = interest / 8 @ mapper.heads[1] + mapper.base[1]
        torch.testing.assert_close(weights(1, torch.tensor([device]))[0], expected)
        torch.testing.assert_close(weights(1, None)[device], expected)


def test_no_block_is_generated_that_no_device_runs() -> None:
    torch.manual_seed(0)
    shape = backbone()
    part = DevicePart(shape, controller=True, interest=True).eval()
    mapper = Mapper(shape, torch.Generator().manual_seed(1)).eval()
    made: list[tuple[int, int]] = []
    head = mapper.block

    def counted(k: int, latent: torch.Tensor) -> torch.Tensor:
        made.append((k, len(latent)))
        return head(k, latent)

    mapper.block = counted  # type: ignore[method-assign]
    path = torch.tensor([[False, False], [False, True], [False, True]])
    history, lengths = torch.tensor([[3], [4], [5]]), torch.tensor([1, 1, 1])
    with torch.no_grad():
        weights = generate(part, mapper, history, lengths, path)
        shape.encode(torch.randint(1, 21, (3, 2, 5)), weights, keep=path)
    assert made == [(1, 2)]


def test_an_extractor_of_pairs_reads_each_item_with_the_one_before_it() -> None:
    """What the GRU reads, by hand: a linear layer of the item and of its product with what a matrix makes of its
    predecessor, of which the first item has none."""
    torch.manual_seed(0)
    extractor = Extractor(pairs=True).eval()
    items = torch.randn(2, 3, 64)
    lengths = torch.tensor([3, 2])
    assert extractor.pair is not None
    assert extractor.turn is not None
    weight, bias, before = extractor.pair.weight, extractor.pair.bias, items @ extractor.turn.weight.T
    read = torch.stack(
        [
            items[:, 0] @ weight[:, :64].T + bias,
            items[:, 1] @ weight[:, :64].T + (before[:, 0] * items[:, 1]) @ weight[:, 64:].T + bias,
            items[:, 2] @ weight[:, :64].T + (before[:, 1] * items[:, 2]) @ weight[:, 64:].T + bias,
        ],
        dim=1,
    )
    states, _ = extractor.gru(read)
    expected = torch.stack([states[0, 2], states[1, 1]])
    torch.testing.assert_close(extractor(items, lengths), expected)
    with torch.no_grad():  # what a device computes, alone
        torch.testing.assert_close(extractor(items[1:, :2], lengths[1:]), expected[1:])


def test_pairs_tell_what_came_first() -> None:
    """The pair of an item and the next one is another than that of the two in the other order."""
    torch.manual_seed(0)
    extractor = Extractor(pairs=True).eval()
    assert extractor.pair is not None
    with torch.no_grad():
        extractor.pair.weight[:, :64] = 0  # the GRU reads products alone
    items = torch.randn(1, 2, 64)
    there, back = (extractor(order, torch.tensor([2])) for order in (items, items.flip(1)))
    assert float((there - back).abs().max()) > 0.05


def test_pairs_cost_products_of_64_by_64_and_of_128_by_64_an_item() -> None:
    plain, pairs = (DevicePart(backbone(), controller=False, interest=True, pairs=pairs) for pairs in (False, True))
    assert pairs.request_macs(5) - plain.request_macs(5) == 5 * (64 * 64 + 128 * 64)
