"""Forward-OFA+: budgets in training, the reward for paths that differ, and the warm start."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clients import inference
from models.checkpoint import Sizes, load_device, load_mapper, save_model
from models.cloud_models import AdaptiveModel
from models.device_part import DevicePart
from models.hypernetwork import AnyMapper, LowRankMapper
from strategies.forward_ofa_plus import (
    DISTILLATION,
    FLOOR,
    KEEP_SHARE,
    SEARCH,
    PlusLearner,
    budgets,
    distillation,
    diversity,
)
from strategies.training.learner import Recipe
from strategies.training.windows import Batch

SIZES = Sizes("sasrec", 30, 3, 5)


def begun(learner: PlusLearner) -> AdaptiveModel:
    """What it trains, at the beginning."""
    generator = torch.Generator().manual_seed(9)
    model = learner.build(SIZES.build(generator), generator)
    assert isinstance(model, AdaptiveModel)
    return model.eval()


@pytest.fixture
def duet_plus(tmp_path: Path) -> Path:
    """A DUET+ that has learnt something."""
    model, generator = begun(PlusLearner(controller=False)), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    path = tmp_path / "duet-plus.safetensors"
    save_model(path, model, SIZES, {})
    return path


@pytest.fixture
def forward_ofa_plus(duet_plus: Path) -> AdaptiveModel:
    """At the beginning of its training."""
    learner = PlusLearner(controller=True)
    learner.teach(duet_plus)
    return begun(learner)


def test_budgets_go_up_to_all_blocks_but_one_and_small_ones_are_more_frequent() -> None:
    drawn = budgets(20_000, 5, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=6) / 20_000
    # A number from 0 to 1 is below 1/2 when its square is below 1/4, and so on: of four sizes, half are the smallest.
    torch.testing.assert_close(share, torch.tensor([0, 0.5, 0.2071, 0.1589, 0.1340, 0]), rtol=0, atol=0.01)
    assert budgets(3, 1, torch.Generator()).tolist() == [1, 1, 1]


def test_a_block_outside_the_budget_learns_what_it_would_have_been_worth() -> None:
    logits = torch.tensor([[5.0, 1.0, -5.0]]).expand(60, 3).clone().requires_grad_()  # budgets of one and two
    gates, whole = PlusLearner(controller=True).paths(logits, torch.Generator().manual_seed(1)).chunk(2)
    assert bool((whole == 1).all())
    assert {tuple(row) for row in gates.detach().int().tolist()} == {(1, 0, 0), (1, 1, 0)}
    (slope,) = torch.autograd.grad(gates.sum(), logits)
    assert bool((slope > 0).all())


def test_diversity_by_hand_and_in_order() -> None:
    # Two devices, two blocks kept with probabilities 1/2 -+ 1/4 in opposite order: variance 1/16, covariance -1/16.
    logit = torch.log(torch.tensor(3.0))
    opposite = torch.stack([torch.stack([logit, -logit]), torch.stack([-logit, logit])])
    expected = torch.log(torch.tensor((1 / 16 + FLOOR) ** 2 - (1 / 16) ** 2))
    torch.testing.assert_close(diversity(opposite), expected)
    independent = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    together = torch.tensor([[2.0, 2.0], [2.0, 2.0], [-2.0, -2.0], [-2.0, -2.0]])
    same = torch.full((4, 2), 2.0)
    assert diversity(independent) > diversity(together) > diversity(same)


def test_devices_run_the_blocks_they_want_most_and_no_more_than_there_is_room_for(
    forward_ofa_plus: AdaptiveModel,
) -> None:
    part = forward_ofa_plus.device_part
    assert part.controller is not None
    generator = torch.Generator().manual_seed(6)
    histories = [torch.randint(1, 31, (50, 7), generator=generator) for _ in range(2)]
    full = torch.full((50,), 7)
    batches = [Batch(history, history, history, full) for history in histories]

    def keep_logits() -> torch.Tensor:
        assert part.controller is not None
        with torch.no_grad():
            return part.controller(part.embed_history(torch.cat(histories)), torch.cat([full, full]))

    before = keep_logits()
    assert bool((before > 0).all())
    with PlusLearner(controller=True).deployed(forward_ofa_plus, batches):
        kept = keep_logits() >= 0
    assert bool(kept[:, 0].all())  # the stem
    assert float(kept.float().mean()) == pytest.approx(KEEP_SHARE, abs=0.005)
    assert before[kept].min() > before[~kept].max()
    torch.testing.assert_close(keep_logits(), before)
    with torch.no_grad():
        part.controller.head.bias.copy_(torch.tensor([9.0, 9.0, -9.0]))  # two thirds
    before = keep_logits()
    with PlusLearner(controller=True).deployed(forward_ofa_plus, batches):
        assert torch.equal(keep_logits(), before)


def test_forward_ofa_plus_starts_from_duet_plus(forward_ofa_plus: AdaptiveModel, duet_plus: Path) -> None:
    teacher, mapper = load_device(duet_plus).part, load_mapper(duet_plus)
    windows = torch.randint(1, 31, (2, 3, 5), generator=torch.Generator().manual_seed(2))
    history, lengths = windows[:, 0], torch.tensor([5, 4])

    def states(part: DevicePart, mapper: AnyMapper) -> torch.Tensor:
        latent = part.latent(part.embed_history(history), lengths, None)
        return part.backbone.encode(windows, lambda k, rows: mapper.block(k, latent))

    torch.testing.assert_close(states(forward_ofa_plus.device_part, forward_ofa_plus.mapper), states(teacher, mapper))


def test_the_interest_knows_the_path_that_really_runs(forward_ofa_plus: AdaptiveModel, tmp_path: Path) -> None:
    model = forward_ofa_plus
    with torch.no_grad():  # logits 3, 2, 1 for everybody
        assert model.device_part.controller is not None
        model.device_part.controller.head.weight.zero_()
        model.device_part.controller.head.bias.copy_(torch.tensor([3.0, 2.0, 1.0]))
    path = tmp_path / "model.safetensors"
    save_model(path, model, SIZES, {})
    assert isinstance(load_mapper(path), LowRankMapper)
    part = load_device(path).part
    history, lengths = torch.tensor([[7, 30, 2, 9], [1, 4, 4, 0]]), torch.tensor([4, 3])
    made = inference.request(part, history, lengths, torch.tensor([3, 1]))
    assert made.path.tolist() == [[True, True, True], [True, False, False]]
    start = torch.zeros(2, 64)
    start[:, :3] = torch.tensor([[1.0, 1, 1], [1, -1, -1]])
    assert part.interest is not None
    expected = part.interest(part.embed_history(history), lengths, start)
    torch.testing.assert_close(made.latent, expected)
    swapped = inference.request(
        part, history, lengths, torch.tensor([3, 1]), redraw=lambda paths: paths[:, ::-1].copy()
    )
    assert swapped.path.tolist() == [[True, True, True], [False, False, True]]
    assert not torch.allclose(swapped.latent[1], expected[1])


def test_all_blocks_learn_from_the_targets_and_a_path_from_all_blocks() -> None:
    path, whole = (torch.randn(1, 2, 64, generator=torch.Generator().manual_seed(i)).requires_grad_() for i in (0, 1))
    items = torch.randn(5, 64, generator=torch.Generator().manual_seed(2))
    nothing = torch.zeros(1, 0, dtype=torch.long)
    batch = Batch(torch.tensor([[0, 3]]), torch.tensor([[0, 4]]), nothing, nothing)  # one target, at the last place
    loss = distillation(path, whole, batch, items)
    entropy = -torch.log_softmax(whole[0, 1] @ items[1:].T, dim=0)[3]
    torch.testing.assert_close(loss, entropy + DISTILLATION * (path - whole)[0, 1].square().mean(), rtol=0.01, atol=0)
    d_path, d_whole = torch.autograd.grad(loss, [path, whole])
    torch.testing.assert_close(d_path[0, 1], DISTILLATION * 2 / 64 * (path - whole)[0, 1])
    assert not d_path[0, 0].any()
    assert not d_whole[0, 0].any()
    torch.testing.assert_close(d_whole[0, 1], torch.autograd.grad(entropy, whole)[0][0, 1], rtol=0.05, atol=0.02)


def test_what_begins_trained_learns_at_half_the_rate_and_is_judged_after_half_the_patience() -> None:
    recipe = Recipe(max_epochs=61, learning_rate=0.01, patience=5)
    learner = PlusLearner(controller=True)
    assert learner.adjust(recipe) == replace(recipe, learning_rate=0.005, patience=3)
    assert learner.adjust(replace(recipe, patience=0)).patience == 0  # equal epochs stay equal


@pytest.mark.parametrize("searching", [True, False])
def test_in_training_a_window_runs_within_a_budget_and_as_a_whole(
    forward_ofa_plus: AdaptiveModel, monkeypatch: pytest.MonkeyPatch, searching: bool
) -> None:
    model = forward_ofa_plus
    learner = PlusLearner(controller=True)
    learner.before_epoch(SEARCH if searching else SEARCH + 1, Recipe())
    seen: list[torch.Tensor] = []
    encode = model.device_part.backbone.encode

    def listening(windows: torch.Tensor, weights: object, **options: torch.Tensor) -> torch.Tensor:
        seen.append(options["gates" if searching else "keep"])
        assert options["keep" if searching else "gates"] is None
        assert torch.equal(*windows.chunk(2))
        out: torch.Tensor = encode(windows, weights, **options)  # type: ignore[arg-type]
        return out

    monkeypatch.setattr(model.device_part.backbone, "encode", listening)
    generator = torch.Generator().manual_seed(5)
    items = torch.randint(1, 31, (40, 6), generator=generator)
    batch = Batch(items[:, :5], items[:, 1:], items, torch.full((40,), 6))
    states, extra = learner.states(model.train(), batch, Recipe(), generator)
    assert states.shape == (40, 5, 64)
    assert extra.shape == ()
    paths, whole = seen[0].detach().float().chunk(2)
    assert 1 <= int(paths.sum(1).min()) < 3
    assert bool((paths[:, 0] == 1).all())  # the stem
    assert bool((paths <= whole).all())
    head = model.device_part.controller
    assert head is not None
    weights = [head.head.bias, head.head.weight]
    if not searching:  # the whole is what there is room for, and the choice stays
        assert float(whole.mean()) == pytest.approx(KEEP_SHARE, abs=0.01)
        assert torch.autograd.grad(states.sum() + extra, weights, allow_unused=True) == (None, None)
        return
    assert bool((whole == 1).all())
    # The stem stays: nothing that the gates or the reward say moves its keep-logit.
    d_bias, d_weight = torch.autograd.grad(states.sum() + extra, weights)
    assert d_bias[0] == 0
    assert not d_weight[0].any()
    assert bool((d_bias[1:] != 0).all())


def test_the_controller_learns_first_and_the_weights_for_its_choice_afterwards() -> None:
    recipe = Recipe(max_epochs=60)
    learner = PlusLearner(controller=True)
    assert learner.search_epochs(recipe) == SEARCH
    assert learner.search_epochs(Recipe(max_epochs=3)) == 3
    assert PlusLearner(controller=False).search_epochs(recipe) == 0


def test_with_one_block_there_is_nothing_to_choose() -> None:
    assert diversity(torch.zeros(8, 0)) == 0
