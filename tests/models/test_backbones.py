"""The device axis, the path, and the arithmetic of a block against independent implementations."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.backbones.base import Backbone
from models.backbones.sasrec import SASRec
from models.checkpoint import BACKBONES

CONTEXT = 7


def build(name: str, blocks: int = 3) -> Backbone:
    return BACKBONES[name](30, blocks, CONTEXT, torch.Generator().manual_seed(1)).eval()


def some(name: str, devices: int, per_device: int = 2) -> tuple[Backbone, Tensor, list[Tensor]]:
    backbone = build(name)
    generator = torch.Generator().manual_seed(2)
    windows = torch.randint(1, 31, (devices, per_device, CONTEXT), generator=generator)
    windows[0, 0, :3] = 0
    stack = [torch.randn(devices, backbone.block_size, generator=generator) * 0.1 for _ in range(3)]
    return backbone, windows, stack


def pick(stack: list[Tensor]):
    return lambda k, rows: stack[k] if rows is None else stack[k][rows]


@pytest.mark.parametrize("name", BACKBONES)
def test_one_device_and_64_devices_give_the_same_numbers(name: str) -> None:
    backbone, windows, stack = some(name, 64)
    keep = torch.rand(64, 3, generator=torch.Generator().manual_seed(3)) < 0.6
    together = backbone.encode(windows, pick(stack), keep=keep)
    for d in range(64):
        mine = [w[d : d + 1] for w in stack]
        alone = backbone.encode(windows[d : d + 1], pick(mine), keep=keep[d : d + 1])
        torch.testing.assert_close(alone[0], together[d], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_shared_weights_equal_the_same_weights_for_every_device(name: str) -> None:
    backbone, windows, stack = some(name, 5)
    shared = [w[:1] for w in stack]
    own = [w[:1].expand(5, -1) for w in stack]
    torch.testing.assert_close(backbone.encode(windows, pick(shared)), backbone.encode(windows, pick(own)))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_skipped_block_is_never_asked_for_and_leaves_the_states_alone(name: str) -> None:
    backbone, windows, stack = some(name, 4)
    keep = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    asked: list[tuple[int, list[int] | None]] = []

    def weights(k: int, rows: Tensor | None) -> Tensor:
        asked.append((k, None if rows is None else rows.tolist()))
        return stack[k] if rows is None else stack[k][rows]

    out = backbone.encode(windows, weights, keep=keep)
    assert asked == [(0, [0, 2]), (2, [0, 1])]
    torch.testing.assert_close(out[3], backbone.finish(backbone.embed(windows)[0], windows)[3], rtol=0, atol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_hard_gates_in_training_form_equal_the_path_that_is_deployed(name: str) -> None:
    backbone, windows, stack = some(name, 6)
    keep = torch.rand(6, 3, generator=torch.Generator().manual_seed(4)) < 0.5
    gated = backbone.encode(windows, pick(stack), gates=keep.float())
    torch.testing.assert_close(gated, backbone.encode(windows, pick(stack), keep=keep))


@pytest.mark.parametrize("chosen", [False, True])
def test_in_training_what_a_block_adds_is_dropped_wherever_it_runs(
    monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    backbone, windows, stack = some("sasrec", 3)
    keep = torch.tensor([[True, True, False], [True, True, True], [False, False, False]]) if chosen else None
    monkeypatch.setattr("models.backbones.base.drop", lambda x, rate, training: 0 * x)
    assert not backbone.encode(windows, pick(stack), keep=keep, dropout=0.5).any()
    assert backbone.encode(windows, pick(stack), keep=keep).any()


@pytest.mark.parametrize("name", BACKBONES)
def test_no_position_sees_a_later_item_and_padding_changes_nothing(name: str) -> None:
    backbone, windows, stack = some(name, 3)
    before = backbone.encode(windows, pick(stack))
    changed = windows.clone()
    changed[:, :, -1] = changed[:, :, -1] % 30 + 1
    after = backbone.encode(changed, pick(stack))
    torch.testing.assert_close(before[:, :, :-1], after[:, :, :-1], rtol=0, atol=0)
    assert not torch.allclose(before[:, :, -1], after[:, :, -1])
    with torch.no_grad():
        backbone.items[0] = 5.0  # what stands in the padding row must not matter
    torch.testing.assert_close(backbone.encode(windows, pick(stack))[:, :, -1], before[:, :, -1])


def test_a_sasrec_block_is_pre_norm_attention_with_four_heads() -> None:
    backbone, windows, stack = some("sasrec", 1, per_device=1)
    assert isinstance(backbone, SASRec)
    x, there = backbone.embed(windows)
    got, real = backbone.run_block(0, x, stack[0])[0, 0], there[0, 0, :, 0]
    assert real.tolist() == sorted((windows[0, 0] != 0).tolist(), reverse=True)  # the real items come first
    flat = stack[0][0]
    w_qkv = flat[: 64 * 192].view(64, 192)
    b_qkv = flat[64 * 192 : 64 * 192 + 192]
    rest = flat[64 * 192 + 192 :]
    w_1, b_1, w_2, b_2 = rest[:4096].view(64, 64), rest[4096:4160], rest[4160:8256].view(64, 64), rest[8256:]
    h = x[0, 0]
    normed = F.layer_norm(h, (64,))
    q, k, v = (normed @ w_qkv + b_qkv).split(64, dim=1)
    mixed = torch.zeros_like(h)
    for head in range(4):
        at = slice(16 * head, 16 * head + 16)
        for i in range(CONTEXT):
            scores = torch.stack([q[i, at] @ k[j, at] / math.sqrt(16) for j in range(i + 1)])
            mixed[i, at] = sum(p * v[j, at] for j, p in enumerate(scores.softmax(0)))
    h = h + mixed
    expected = h + (F.relu(F.layer_norm(h, (64,)) @ w_1 + b_1) @ w_2 + b_2)
    torch.testing.assert_close(got[real], expected[real], rtol=1e-5, atol=1e-5)


def test_padding_in_front_of_a_window_changes_nothing_but_the_positions() -> None:
    backbone, windows, stack = some("sasrec", 3, per_device=1)
    with torch.no_grad():
        backbone.positions.zero_()
    windows[:, :, :2] = 0
    padded = backbone.encode(windows, pick(stack))
    torch.testing.assert_close(padded[:, :, 2:], backbone.encode(windows[:, :, 2:], pick(stack)), rtol=1e-5, atol=1e-6)


def test_a_nextitnet_block_is_two_dilated_causal_convolutions() -> None:
    backbone, windows, stack = some("nextitnet", 1, per_device=1)
    x, _ = backbone.embed(windows)
    got = backbone.run_block(1, x, stack[1])[0, 0]
    flat, h = stack[1][0], x[0, 0].T[None]
    size = 3 * 64 * 64
    kernels = [flat[:size], flat[size + 64 : 2 * size + 64]]
    biases = [flat[size : size + 64], flat[-64:]]
    for kernel, bias, dilation in zip(kernels, biases, (4, 8), strict=True):
        conv = kernel.view(3, 64, 64).permute(2, 1, 0)  # (out, in, tap)
        h = F.conv1d(F.pad(h, (2 * dilation, 0)), conv, bias, dilation=dilation)
        h = F.relu(F.layer_norm(h.transpose(1, 2), (64,), eps=1e-8)).transpose(1, 2)
    torch.testing.assert_close(got, x[0, 0] + h[0].T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("context", [3, CONTEXT])
def test_honest_macs_against_torchs_own_counter(name: str, context: int) -> None:
    backbone, windows, stack = some(name, 1, per_device=1)
    keep = torch.tensor([[True, False, True]])
    # The counter knows attention only as two matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        states = backbone.encode(windows[..., -context:], pick(stack), keep=keep)
        backbone.score(states[:, :, -1])
    assert counter.get_total_flops() == 2 * backbone.inference_macs(context, 2)
