"""Devices that compute in 32, 16 and 8 bits in one run: what their rows must say, by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from clients.fields import BadMessage
from clients.messages import MEASURED
from core.errors import UserError
from models.checkpoint import load_device
from sim import play, run
from sim.config import Config
from sim.world.scenario import load_scenario
from strategies.expectation import Expectation, Networks
from tests.support import untrained
from tests.support.runs import own_cache, sessions, small_config
from tests.support.seam import measured, save, static_model

TIER = """
[[tier]]
name = "{bits}"
share = {share}
bits = {bits}
gflops = 1000
efficiency = 1
memory_mbyte = 10
downlink_mbit_s = 40
uplink_mbit_s = 10
picojoule_per_mac = {energy}
nanojoule_per_bit_down = 100
nanojoule_per_bit_up = 100
"""
TIERS = {32: 4.6, 16: 1.5, 8: 0.3}
BLOCK = {32: 665_600, 16: 332_800, 8: 184_320}
METHODS = "devicerec,duet,diet,chord"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache(tmp_path, monkeypatch)
    untrained.install(monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    tiers = [
        TIER.format(bits=bits, share=share, energy=TIERS[bits]) for bits, share in ((32, 0.3), (16, 0.3), (8, 0.4))
    ]
    (tmp_path / "mix.toml").write_text("[cloud]\ngflops = 1000\n" + "".join(tiers))
    small = {"devices": 12, "epochs": 1, "sessions": 2, "methods": METHODS}
    return small_config(tmp_path, **small, scenario=str(tmp_path / "mix.toml"))


def test_bits_follow_from_the_precision_of_a_device(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.main(config)
    rows = sessions(config.folder)
    assert set(rows.tier) == {"32", "16", "8"}
    assert (rows.status == "ok").all()
    assert rows.served.all()
    for tier, mine in rows.groupby("tier"):
        bits = int(str(tier))
        by = dict(list(mine.groupby("method")))
        assert (by["devicerec"].param_bits == 2 * BLOCK[bits]).all()
        assert (by["duet"].param_bits == 2 * BLOCK[bits]).all()
        assert (by["duet"].bits_down == 2 * BLOCK[bits] + 8).all()
        assert (by["diet"].bits_down == 2 * 20_480 + 8).all()  # a bit a weight
        assert (by["diet"].param_bits == 2 * 2 * 20_480).all()
        assert (by["chord"].bits_down == 2 * 2 * 320 + 8).all()  # two bits a channel
        low, high = (2 * (320 * 64 * b + 320 * 64) for b in (2, 8))
        assert by["chord"].param_bits.between(low + 1, high - 1).all()
        assert (mine[mine.method != "devicerec"].bits_up == 64 * 32 + 8).all()
        radio = 1e-7 * (mine.bits_down + mine.bits_up)
        assert (mine.joules - radio - mine.macs_session * TIERS[bits] * 1e-12).abs().max() < 1e-12
    assert rows[rows.method == "devicerec"].macs.nunique() == 1
    whole = pd.read_csv(config.folder / "coverage.csv").set_index("method")["bits_installed"]
    computes = load_scenario(config.scenario).bits(12, config.seed)
    model = config.folder / "models" / "devicerec-0.safetensors"
    each = {bits: load_device(model).at(bits).bits for bits in TIERS}
    assert whole["devicerec"] == round(sum(each[int(b)] for b in computes) / 12)

    monkeypatch.setattr(play, "WAVE", 1)
    alone = replace(config, out=tmp_path / "alone")
    run.main(alone)
    pd.testing.assert_frame_equal(rows, sessions(alone.folder))


def test_precision_changes_what_devices_measure_and_nothing_else_of_them(config: Config, tmp_path: Path) -> None:
    text = Path(config.scenario).read_text()
    (tmp_path / "whole.toml").write_text(text.replace("bits = 16", "bits = 32").replace("bits = 8", "bits = 32"))
    config = replace(config, methods="duet")
    whole = replace(config, scenario=str(tmp_path / "whole.toml"), out=tmp_path / "whole")
    for one in (config, whole):
        run.main(one)
    rows, plain = sessions(config.folder), sessions(whole.folder)
    same = rows.tier == "32"
    pd.testing.assert_frame_equal(rows[same], plain[same])
    assert (rows[["events", "macs", "path", "bits_up"]] == plain[["events", "macs", "path", "bits_up"]]).all().all()
    assert not rows.mrr.equals(plain.mrr)


def test_a_method_that_trains_on_devices_is_refused_in_one_line(config: Config) -> None:
    with pytest.raises(UserError, match="tier 16 has bits = 16, and finetune runs in 32 alone"):
        run.main(replace(config, methods="duet,finetune"))
    assert not config.folder.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('base = "phones"\n[each]\nbits = 4\n', "tier legacy: bits is 4; it must be 32, 16 or 8"),
        ('base = "phones"\n[each]\nshare = 0.5\n', "[each]: unknown key 'share'"),
        ("[cloud]\ngflops = 1\n[each]\nbits = 8\n", "[each] is for a mix with a base"),
    ],
)
def test_a_precision_that_cannot_be_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UserError) as found:
        load_scenario(str(tmp_path / "bad.toml"))
    assert why in str(found.value)


def test_a_shipped_mix_changes_the_precision_of_its_base_alone() -> None:
    base, found = load_scenario("phones"), load_scenario("phones-int8")
    assert [tier.bits for tier in found.tiers] == [8] * 6
    assert [replace(tier, bits=32, picojoule_per_mac=4.6) for tier in found.tiers] == list(base.tiers)
    assert [load_scenario(f"paper-device{end}").tiers[0].bits for end in ("", "-fp16", "-int8")] == [32, 16, 8]


def test_a_report_of_another_precision_is_refused(tmp_path: Path) -> None:
    """A device that computes in 8 bits cannot have run a network of 32."""
    file = save(tmp_path / "m.safetensors", static_model(30, 2, 5), items=30, blocks=2, context=5, history=8)
    networks = Networks(load_device(file).at(8))
    facts = {"served": 1, "path": 3, "macs": 30 * 64 + 2 * 105_600, "macs_paper": networks.takes(3)[0].macs_paper}
    honest = {**measured(**facts, param_bits=2 * 184_320)[MEASURED]}
    check = Expectation(1, networks, (3,)).check
    check(honest)  # type: ignore[arg-type]
    with pytest.raises(BadMessage, match="param_bits is 1331200, which path 11 does not take"):
        check({**honest, "param_bits": 2 * 665_600})  # type: ignore[arg-type]
