"""What makes training fast must not change what is trained: each piece against the plain form of the same thing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.backbones.sasrec import SASRec
from models.hypernetwork import Mapper
from models.kernels.attention import causal_attention
from models.kernels.dropout import dropout
from models.kernels.gru import states
from models.kernels.linear import LowRankLinear, SharedLinear, precision_for
from models.kernels.precision import product_type
from models.kernels.softmax_loss import even_rows, full_softmax_loss, padded_width


@pytest.mark.parametrize(("precision", "tolerance"), [(None, 1e-6), (torch.bfloat16, 2e-2)])
def test_states_and_their_gradients_are_those_of_pytorchs_gru(precision: torch.dtype | None, tolerance: float) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(6, 5, batch_first=True)
    x = torch.randn(4, 9, 6, requires_grad=True)
    start = torch.randn(4, 5, requires_grad=True)
    lengths, weight = torch.tensor([7, 1, 4, 6]), torch.randn(4, 5)
    real = torch.arange(7) < lengths[:, None]
    weights = torch.randn(4, 7, 5) * real[:, :, None]
    leaves = [x, start, *gru.parameters()]
    every, _ = gru(x[:, :7], start.unsqueeze(0))
    last = every[torch.arange(4), lengths - 1]
    mine_last, mine_every = states(gru, x, lengths, start, precision)
    assert mine_every.shape == (4, 7, 5)
    assert torch.equal(mine_every[:, -1], mine_last)  # in padding a state stays
    assert float((mine_every - every)[real].detach().norm() / every[real].detach().norm()) < tolerance
    by_last, by_each = (
        ((mine_last * weight).sum(), (last * weight).sum()),
        ((mine_every * weights).sum(), (every * weights).sum()),
    )
    both = (by_last[0] + by_each[0], by_last[1] + by_each[1])
    for losses in (by_last, by_each, both):
        for mine, theirs in zip(
            *(torch.autograd.grad(loss, leaves, retain_graph=True) for loss in losses), strict=True
        ):
            assert float((mine - theirs).norm() / theirs.norm()) < tolerance


def test_dropout_keeps_the_mean_and_drops_as_many_as_it_should() -> None:
    torch.manual_seed(0)
    out = dropout(torch.ones(200_000), 0.2)
    assert float((out == 0).float().mean()) == pytest.approx(51 / 256, abs=0.005)
    assert float(out.mean()) == pytest.approx(1, abs=0.005)
    assert out.unique().tolist() == pytest.approx([0.0, 256 / 205])


def test_dropout_is_repeatable_and_off_outside_training() -> None:
    x = torch.randn(5, 7)
    torch.manual_seed(3)
    first = dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x, 0.5))
    assert torch.equal(dropout(x, 0.5, training=False), x)


@pytest.mark.parametrize(("precision", "tolerance"), [(None, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_loss_in_chunks_is_cross_entropy(precision: torch.dtype | None, tolerance: float) -> None:
    torch.manual_seed(0)
    states = torch.randn(900, 64, requires_grad=True)
    items = torch.randn(3001, 64, requires_grad=True)
    targets = torch.randint(1, 3001, (900,))
    got = full_softmax_loss(states / 8, items, targets, precision=precision)
    expected = F.cross_entropy(states / 8 @ items[1:].T, targets - 1)
    assert float(got) == pytest.approx(float(expected), rel=tolerance)
    for mine, theirs in zip(
        torch.autograd.grad(got, [states, items]), torch.autograd.grad(expected, [states, items]), strict=True
    ):
        assert float((mine - theirs).norm() / theirs.norm()) < tolerance


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_a_mapper_in_training_applies_the_weights_it_makes_afterwards(
    precision: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.kernels.deviation.product_type", lambda device: precision)
    generator = torch.Generator().manual_seed(0)
    backbone = SASRec(10, 2, 5, generator)
    mapper = Mapper(backbone, generator)
    with torch.no_grad():
        for head in mapper.heads:
            head.mul_(30)  # deviations as large as what they deviate from
        mapper.base[1].add_(0.1 * torch.randn(mapper.base[1].shape, generator=generator))
    latent = torch.randn(3, 64, generator=generator).requires_grad_()
    x = torch.randn(3, 2, 5, 64, generator=generator).requires_grad_()
    weight = torch.randn(3, 2, 5, 64, generator=generator)
    found = []
    for training in (True, False):
        mapper.train(training)
        out = backbone.run_block(1, x, mapper.applied(1, latent))
        found.append([out, *torch.autograd.grad((out * weight).sum(), [x, latent, mapper.heads[1], mapper.base[1]])])
    for mine, exact in zip(*found, strict=True):
        assert float((mine - exact).norm() / exact.norm()) < tolerance


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize("n", [1, 10, 20])
def test_causal_attention_and_its_gradient_are_those_of_pytorch(n: int, scale: float) -> None:
    """Against PyTorch's own in double precision, also where exponentials of the scores themselves are infinite."""
    torch.manual_seed(0)
    qkv, weight = torch.randn(5, n, 3 * 32) * scale, torch.randn(5, n, 32)
    exact = qkv.double().requires_grad_()
    q, k, v = exact.view(5, n, 3, 4, 8).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(5, n, 32)
    qkv.requires_grad_()
    got = causal_attention(qkv, 4)
    (mine,) = torch.autograd.grad((got * weight).sum(), qkv)
    (theirs,) = torch.autograd.grad((expected * weight).sum(), exact)
    if scale > 1 and n > 1:
        assert float((q @ k.transpose(-1, -2)).abs().max()) / 8**0.5 > 100
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-4 * scale)


def test_a_sequence_may_be_read_from_two_states() -> None:
    """Against PyTorch's GRU on the sequences twice, in double precision."""
    torch.manual_seed(0)
    gru = nn.GRU(6, 5, batch_first=True)
    x, start = torch.randn(3, 7, 6, requires_grad=True), torch.randn(6, 5, requires_grad=True)
    lengths, weight = torch.tensor([7, 2, 4, 7, 2, 4]), torch.randn(6, 5)
    got, _ = states(gru, x, lengths, start)
    mine = [got, *torch.autograd.grad((got * weight).sum(), [x, start, *gru.parameters()])]
    exact = nn.GRU(6, 5, batch_first=True).double()
    exact.load_state_dict(gru.state_dict())
    sequences, starts = (t.detach().double().requires_grad_() for t in (x, start))
    every, _ = exact(sequences.repeat(2, 1, 1), starts.unsqueeze(0))
    expected = every[torch.arange(6), lengths - 1]
    theirs = torch.autograd.grad((expected * weight).sum(), [sequences, starts, *exact.parameters()])
    for one, other in zip(mine, [expected, *theirs], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_linear_layers_of_training_against_autograd(
    precision: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.kernels.linear.product_type", lambda device: precision)
    torch.manual_seed(0)
    shapes = {"x": (3, 64, 64), "w": (64, 48), "b": (48,), "v": (64, 16), "u": (16, 48), "g": (3, 16), "s": (3, 48)}
    x, w, b, v, u, g, s = (torch.randn(shape).div(4).requires_grad_() for shape in shapes.values())
    exact = [t.detach().double().requires_grad_() for t in (x, w, b, v, u, g, s)]
    weight = torch.randn(3, 64, 48)
    dx, dw, db, dv, du, dg, ds = exact
    low_rank = dx @ (dw + dv @ (dg.unsqueeze(2) * du)) + db + ds.unsqueeze(1)
    shared = dx.flatten(0, 1) @ dw + db
    for got, expected, mine, theirs in (
        (LowRankLinear.apply(x, w, b, v, u, g, s), low_rank, [x, w, b, v, u, g, s], exact),
        (SharedLinear.apply(x.flatten(0, 1), w, b), shared, [x, w, b], exact[:3]),
    ):
        found = torch.autograd.grad((got.view_as(weight) * weight).sum(), mine)
        wanted = torch.autograd.grad((expected.view_as(weight) * weight).sum(), theirs)
        for one, other in zip([got, *found], [expected, *wanted], strict=True):
            assert float((one.double() - other).norm() / other.norm()) < tolerance


def test_states_of_training_drop_changes_out_and_leave_padding_alone() -> None:
    """A block's change is taken whole (and scaled up) or not at all; half a gate takes half of it."""
    torch.manual_seed(0)
    before, after = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 4, 8)
    real = torch.ones(2, 3, 4, 1, dtype=torch.bool)
    real[0, 0, 2:] = False
    before = before * real
    out = SASRec._mixed(before, after, real, 0.25, torch.tensor([1.0, 0.5]))
    assert not out[0, 0, 2:].any()
    shares = ((out - before) / (after - before))[real.expand_as(out)]
    levels = torch.tensor([0.0, 2 / 3, 4 / 3])
    assert float((shares.unsqueeze(1) - levels).abs().amin(1).max()) < 1e-4
    assert {int(i) for i in (shares.unsqueeze(1) - levels).abs().argmin(1)} == {0, 1, 2}
    assert ((out - before).abs() < 1e-6)[1].float().mean() == pytest.approx(0.25, abs=0.1)


def test_products_of_training_have_few_sizes() -> None:
    """Each new one costs milliseconds: rows of a chunk are multiples of 32, and odd numbers of devices use no fast
    products."""
    assert {even_rows(count, 330) for count in range(581, 641)} == {320}
    assert even_rows(5, 330) == 32
    assert even_rows(1_000, 330) == 256
    assert precision_for(torch.zeros(7, 10, 64)) == torch.float32
    assert precision_for(torch.zeros(64, 10, 64)) == product_type(torch.device("cpu"))
    assert [padded_width(n) for n in (31, 32, 3_012, 3_040)] == [32, 96, 3_040, 3_104]
