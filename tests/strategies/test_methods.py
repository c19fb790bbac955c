"""The compared methods and the ablations, played end to end: what their rows must say, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clients import ablations
from clients.session_config import SessionConfig
from models.backbones.nextitnet import NextItNet
from models.backbones.sasrec import SASRec
from models.checkpoint import load_device
from models.cloud_models import StaticModel
from models.shared.rare_gem import RareGemModel
from sim import play, run
from sim.config import Config
from sim.model_cache import given, in_order, model_key, recipe_of
from strategies.devicerec import StaticLearner
from strategies.rare_gem import RareGemLearner, prunings
from strategies.registry import METHODS
from strategies.training.data import TrainingSet
from strategies.training.learner import Recipe
from tests.support.runs import without_report

SESSIONS, BLOCKS, CONTEXT, MEMORY = 4, 2, 5, 8
ABLATIONS = "forward-ofa-controller,forward-ofa-no-structure,forward-ofa-random,forward-ofa-first,forward-ofa-last"

ONE_TERAFLOPS = (
    "[[tier]]",
    'name = "one"',
    "share = 1",
    "gflops = 1000",
    "efficiency = 1",
    "memory_mbyte = 10",
    "downlink_mbit_s = 40",
    "uplink_mbit_s = 10",
    "picojoule_per_mac = 4.6",
    "nanojoule_per_bit_down = 100",
    "nanojoule_per_bit_up = 100",
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "methods cache"))
    without_report(monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    rng = np.random.default_rng(3)
    rows = [
        (f"u{user}", f"i{(user * 3 + step * int(rng.integers(1, 3))) % 30}", 10**9 + 40 * step + 4000 * (step // 6))
        for user in range(7)
        for step in range(30 + user)
    ]
    path = tmp_path / "tiny.csv"
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)
    return Config(
        references="none",
        candidates="all",
        dataset=str(path),
        devices=5,
        blocks=BLOCKS,
        context=CONTEXT,
        memory=MEMORY,
        epochs=2,
        session_length=SESSIONS,
        quiet=True,
        out=tmp_path / "run",
    ).absolute()


def rows_of(config: Config) -> pd.DataFrame:
    run.main(config)
    return pd.read_parquet(config.folder / "sessions.parquet")


def items(config: Config) -> int:
    return load_device(config.folder / "models" / "devicerec-0.safetensors").part.backbone.num_items


@pytest.mark.parametrize(
    ("backbone", "block", "static", "build", "factors"),
    [
        (SASRec, 20_800, 0, 5 * 98_304, 19_520),
        (NextItNet, 24_704, 256, 2 * 122_880, 10_848),
    ],
)
def test_compressed_methods_count_what_their_networks_take(
    config: Config, backbone: type, block: int, static: int, build: int, factors: int
) -> None:
    config = replace(config, backbone=backbone.__name__.lower(), methods="devicerec,sttd,rare-gem,gater")
    rows = rows_of(config)
    assert not rows.requested.any()
    assert (rows[["bits_up", "bits_down"]] == 0).all().all()
    assert (rows.blocks == BLOCKS).all()
    by = {name: mine.reset_index(drop=True) for name, mine in rows.groupby("method")}
    plain = by["devicerec"]
    assert (by["sttd"].macs == plain.macs + BLOCKS * build).all()
    assert (by["sttd"].macs_paper == plain.macs_paper + BLOCKS * build).all()
    assert (by["sttd"].param_bits == 32 * BLOCKS * (factors + static)).all()
    total = BLOCKS * (block + static)
    kept = round({SASRec: 113_638 / 124_800, NextItNet: 171_200 / 299_520}[backbone] * total)
    assert (by["rare-gem"].param_bits == 32 * kept).all()
    assert (by["rare-gem"].macs == plain.macs).all()
    gates = CONTEXT * 6 * 4096 + 64 * 32 + 32 * BLOCKS * block // ({SASRec: 64, NextItNet: 192}[backbone] + 1)
    assert (by["gater"].macs - gates - by["gater"].macs_paper == plain.macs - plain.macs_paper).all()
    assert (by["gater"].macs_paper <= plain.macs_paper).all()
    assert (by["gater"].param_bits <= plain.param_bits).all()
    assert rows.served.all()
    assert (rows.groupby("method").events.sum().nunique()) == 1


@pytest.mark.parametrize(
    ("ceiling", "served"),
    [
        # Two blocks: plain 166,400 bytes, STTD 156,160, Rare Gem 151,517 of the kept weights.
        ("model_mbyte = 0.16", {"sttd", "rare-gem"}),
        ("model_mbyte = 0.154", {"rare-gem"}),
        # At 10^12 operations a second, two a multiply-accumulate: plain 2 x 105,600 and scoring 30 x 64 of these,
        # STTD 2 x 491,520 more.
        ("latency_ms = 0.0005", {"devicerec", "finetune", "rare-gem"}),
        ("latency_ms = 0.0024", {"devicerec", "finetune", "rare-gem", "sttd"}),
    ],
)
def test_a_budget_serves_a_network_by_its_real_size(
    config: Config, tmp_path: Path, ceiling: str, served: set[str]
) -> None:
    tier = "".join(f"{line}\n" for line in ONE_TERAFLOPS)
    (tmp_path / "mix.toml").write_text(f"[cloud]\ngflops = 1000\n[budget]\n{ceiling}\n{tier}")
    methods = "devicerec,finetune,sttd,rare-gem"
    rows = rows_of(replace(config, methods=methods, scenario=str(tmp_path / "mix.toml"), sessions=1))
    assert items(config) == 30
    assert set(rows[rows.served].method) == served
    assert not set(rows[~rows.served].method) & served


def test_ablations_ask_for_as_many_blocks_but_not_for_those(config: Config) -> None:
    rows = rows_of(replace(config, blocks=4, methods=f"forward-ofa,{ABLATIONS}"))
    by = {name: mine.reset_index(drop=True) for name, mine in rows.groupby("method")}
    real = by["forward-ofa"]
    for name in ("random", "first", "last"):
        mine = by[f"forward-ofa-{name}"]
        for column in ("blocks", "macs", "macs_paper", "bits_up", "bits_down", "param_bits"):
            assert (mine[column] == real[column]).all(), (name, column)
    assert (by["forward-ofa-first"].path == 2**real.blocks - 1).all()
    assert (by["forward-ofa-last"].path == (2**real.blocks - 1) * 2 ** (4 - real.blocks)).all()
    controller = by["forward-ofa-controller"]
    assert not controller.requested.any()
    assert (controller[["bits_up", "bits_down"]] == 0).all().all()
    assert (controller.seconds_adapt > 0).all()
    assert (controller.param_bits == controller.blocks * 20_800 * 32).all()
    assert by["forward-ofa-no-structure"].requested.all()
    models = sorted(p.name for p in (config.folder / "models").iterdir())
    assert models == [
        "forward-ofa-0.safetensors",
        "forward-ofa-controller-0.safetensors",
        "forward-ofa-no-structure-0.safetensors",
    ]


def test_the_size_of_a_wave_changes_nothing(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(config, methods=f"sttd,rare-gem,gater,{ABLATIONS}", sessions=2)
    together = rows_of(config)
    monkeypatch.setattr(play, "WAVE", 1)
    alone = rows_of(replace(config, out=tmp_path / "alone"))
    pd.testing.assert_frame_equal(together, alone)


def test_the_path_of_an_ablation_by_hand() -> None:
    path = np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    order = SessionConfig(device=0, session=3, seed=11)
    assert ablations.first_blocks(path, order).tolist() == [True, True, False, False, False, False]
    assert ablations.last_blocks(path, order).tolist() == [False, False, False, False, True, True]
    drawn = {tuple(ablations.random_blocks(path, replace(order, device=d)).tolist()) for d in range(200)}
    assert len(drawn) == 15  # all pairs of six
    assert all(sum(one) == 2 for one in drawn)
    again = ablations.random_blocks(path, order)
    assert again.tolist() == ablations.random_blocks(path, order).tolist()
    none = np.zeros(6, dtype=bool)
    assert not ablations.last_blocks(none, order).any()


def test_a_teacher_is_trained_before_its_student_and_each_model_once() -> None:
    assert in_order(["sttd", "finetune", "forward-ofa-last", "forward-ofa"]) == ["devicerec", "sttd", "forward-ofa"]
    assert in_order(["forward-ofa-plus-random"]) == ["duet-plus", "forward-ofa-plus"]
    assert {METHODS[name].cloud_model for name in METHODS} <= set(METHODS)


def test_a_models_name_says_what_its_teachers_learnt_with(monkeypatch: pytest.MonkeyPatch) -> None:
    items = np.arange(1, 41)
    data, config = TrainingSet(np.array([0, 40]), items, items[:1], 40), Config()

    def names() -> dict[str, str]:
        return {name: model_key(name, data, config, 0) for name in ("devicerec", "duet", "duet-plus-warm", "sttd")}

    before = names()
    assert len(set(before.values())) == 4
    assert names() == before
    monkeypatch.setattr(StaticLearner, "adjust", lambda self, recipe, given: replace(recipe, dropout=0.5))
    assert {name for name, key in names().items() if key != before[name]} == {
        "devicerec",
        "duet-plus-warm",
        "sttd",
    }


def test_what_a_method_changes_of_the_recipe_gives_way_to_options() -> None:
    """On generated data the others have 10 epochs at 0.01; the fields that no option asks for are DUET+'s own."""
    learner = METHODS["duet-plus"].learner()

    def taken(**options: float) -> tuple[float, int]:
        config = replace(Config(), **options)  # type: ignore[arg-type]
        recipe = learner.adjust(recipe_of(config), given(config))
        return recipe.learning_rate, recipe.max_epochs

    assert taken() == (0.005, 20)
    assert taken(learning_rate=0.02) == (0.02, 20)
    assert taken(epochs=7) == (0.005, 7)
    assert taken(learning_rate=0.001, epochs=7) == (0.001, 7)


def test_rare_gem_prunes_every_fifth_epoch_down_to_its_share_and_then_trains() -> None:
    assert prunings(20) == [5, 10, 15]
    assert prunings(6) == [5]
    assert prunings(2) == [2]
    learner = RareGemLearner()
    learner.kept = 0.512  # 0.8 each time
    model = learner.build(SASRec(20, 2, 5, torch.Generator()), torch.Generator().manual_seed(0))
    assert isinstance(model, RareGemModel)
    recipe, left = Recipe(), []
    assert learner.search_epochs(recipe) == 20
    for epoch in range(1, 21):
        assert bool(model.searching)
        learner.after_epoch(model, epoch, recipe)
        left.append(sum(int(model.sparse.kept(k).sum()) for k in range(2)) / model.total)
    np.testing.assert_allclose(left[3:16:5], [1.0, 0.8, 0.64], atol=1e-4)
    np.testing.assert_allclose(left[-1], 0.512, atol=1e-4)
    assert not bool(model.searching)


@pytest.mark.parametrize("method", ["sttd", "rare-gem", "gater"])
def test_a_device_opens_the_network_that_was_trained(config: Config, method: str) -> None:
    rows_of(replace(config, methods=method, sessions=1))
    installed = load_device(config.folder / "models" / f"{method}-0.safetensors")
    network = installed.network
    assert network is not None
    assert network.kind == {"sttd": "sttd", "rare-gem": "sparse", "gater": "gated"}[method]
    assert not any(p.requires_grad for p in network.parameters())
    assert network[0].shape == (1, 20_800)
    plain = StaticModel(installed.part.backbone, torch.Generator()).network
    assert type(plain) is not type(network)
    if method == "rare-gem":
        assert float((network[0] == 0).float().mean()) > 0.05
