"""Seconds and joules by hand, and the shipped device mixes."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from sim.world.costs import Counts, cost, waits
from sim.world.scenario import Cloud, Scenario, Tier, load_scenario
from sim.world.tables import shipped

PHONE = Tier(
    name="phone",
    share=1.0,
    gflops=4.0,
    efficiency=0.5,
    memory_mbyte=1.0,
    downlink_mbit_s=40.0,
    uplink_mbit_s=10.0,
    picojoule_per_mac=5.0,
    nanojoule_per_bit_down=50.0,
    nanojoule_per_bit_up=400.0,
)
WORLD = Scenario("test", "", Cloud(gflops=100.0), tiers=(PHONE,))


def test_an_adaptation_by_hand() -> None:
    counts = Counts(
        events=3,
        macs=1_000_000,
        macs_request=500_000,
        macs_adapt=0,
        macs_cloud=5_000_000,
        bits_up=2_000,
        bits_down=4_000_000,
    )
    spent = cost(counts, PHONE, WORLD)
    # extractors 10^6 FLOP at 2 GFLOPS, 2 kbit at 10 Mbit/s, 10^7 FLOP at 100 GFLOPS, 4 Mbit at 40 Mbit/s
    assert math.isclose(spent.seconds_adapt, 0.0005 + 0.0002 + 0.0001 + 0.1)
    assert math.isclose(spent.seconds_inference, 0.001)
    # 3.5 million MACs at 5 pJ, 4 Mbit at 50 nJ, 2 kbit at 400 nJ
    assert math.isclose(spent.joules, 17.5e-6 + 0.2 + 0.0008)


def test_waiting_service_and_assembly_come_on_top() -> None:
    counts = Counts(events=1, macs=0, macs_request=0, macs_adapt=0, macs_cloud=0, bits_up=0, bits_down=4_000_000)
    slow = replace(PHONE, assembly_mbyte_s=2.0)
    # 4 Mbit at 40 Mbit/s, 0.5 MB at 2 MB/s
    assert math.isclose(cost(counts, slow, WORLD, queue=0.3).seconds_adapt, 0.1 + 0.25 + 0.3)
    assert cost(counts, slow, WORLD, queue=0.3).joules == cost(counts, PHONE, WORLD).joules


def test_a_burst_waits_in_the_order_of_its_arrival() -> None:
    arrivals = np.array([0.0, 0.25, 0.0, 5.0, 0.1])
    # served at 0, 3, 1, 5, 2 with one second each
    assert np.allclose(waits(arrivals, 1.0), [0.0, 2.75, 1.0, 0.0, 1.9])
    assert np.allclose(waits(arrivals, 0.0), 0.0)
    assert waits(np.array([]), 1.0).tolist() == []


def test_the_papers_adaptation_times_are_special_cases() -> None:
    """Table 8: its on-cloud time gives the work of fine-tuning, 4.6259 s x 35.58 TFLOPS; on the phone that work takes
    91.98 s (the paper prints "at least 94.19", a phone of 1,747 GFLOPS). Figure 7: 40 Mbit/s and Table 1's sizes."""
    paper = load_scenario("paper-device")
    nothing = Counts(events=1, macs=0, macs_request=0, macs_adapt=0, macs_cloud=0, bits_up=0, bits_down=0)
    tuning = replace(nothing, macs_adapt=round(4.6259 * 35.58e12 / 2))
    assert round(cost(tuning, paper.tiers[0], paper).seconds_adapt, 2) == 91.98
    deeper = replace(nothing, macs_adapt=round(4.8764 * 35.58e12 / 2))  # NextItNet; the paper prints "at least 99.29"
    assert round(cost(deeper, paper.tiers[0], paper).seconds_adapt, 2) == 96.96
    in_cloud = replace(nothing, macs_cloud=tuning.macs_adapt)
    assert round(cost(in_cloud, paper.tiers[0], paper).seconds_adapt, 4) == 4.6259
    # Forward-OFA itself: two GRUs and H over 5 items, six heads in the cloud; the paper measures 1.1 ms
    forward = replace(nothing, macs_request=254_464, macs_cloud=6 * 64 * 20_800)
    compute = cost(forward, paper.tiers[0], paper).seconds_adapt
    assert math.isclose(compute, 2 * 254_464 / 1789.4e9 + 2 * 7_987_200 / 35.58e12)
    assert compute < 0.0011
    sizes = {"SASRec": 3.9936, "Forward-OFA": 3.6384, "NextItNet": 9.5846}
    times = {
        name: cost(replace(nothing, bits_down=round(mbit * 1e6)), paper.tiers[0], paper).seconds_adapt
        for name, mbit in sizes.items()
    }
    assert {name: round(seconds, 4) for name, seconds in times.items()} == {
        "SASRec": 0.0998,
        "Forward-OFA": 0.0910,
        "NextItNet": 0.2396,
    }


def test_local_training_takes_time_and_energy_and_nothing_else_does_when_nothing_happens() -> None:
    idle = Counts(events=0, macs=0, macs_request=0, macs_adapt=0, macs_cloud=0, bits_up=0, bits_down=0)
    assert cost(idle, PHONE, WORLD).seconds_adapt == 0
    training = Counts(events=0, macs=0, macs_request=0, macs_adapt=10**9, macs_cloud=0, bits_up=0, bits_down=0)
    assert math.isclose(cost(training, PHONE, WORLD).seconds_adapt, 1.0)
    assert math.isclose(cost(training, PHONE, WORLD).joules, 0.005)


def test_the_papers_download_of_a_full_sasrec_takes_a_tenth_of_a_second() -> None:
    scenario = load_scenario("paper-device")
    counts = Counts(events=1, macs=0, macs_request=0, macs_adapt=0, macs_cloud=0, bits_up=0, bits_down=3_993_600)
    assert math.isclose(cost(counts, scenario.tiers[0], scenario).seconds_adapt, 3.9936 / 40)


@pytest.mark.parametrize("name", shipped("scenario"))
def test_every_number_of_a_shipped_mix_names_its_source(name: str) -> None:
    import tomllib
    from importlib import resources

    load_scenario(name)
    table = tomllib.loads((resources.files("sim") / "scenarios" / f"{name}.toml").read_text("utf-8"))
    sections = [table[key] for key in table if key not in ("tier", "description", "base")]
    for entry in [*sections, *table.get("tier", [])]:
        for key, value in entry.items():
            if key != "name" and value != 1.0:
                assert len(value["source"]) > 10, f"{name}: {key}"


def write(tmp_path: Path, tiers: str) -> str:
    path = tmp_path / "mix.toml"
    path.write_text("[cloud]\ngflops = 100\n" + tiers)
    return str(path)


def tier(name: str, share: float, more: str = "", gflops: float = 5) -> str:
    return (
        f'[[tier]]\nname = "{name}"\nshare = {share}\ngflops = {gflops}\nefficiency = 0.5\n'
        "memory_mbyte = 2\ndownlink_mbit_s = 10\nuplink_mbit_s = 5\n"
        f"picojoule_per_mac = 4\nnanojoule_per_bit_down = 50\nnanojoule_per_bit_up = 400\n{more}\n"
    )


def test_devices_are_dealt_to_tiers_by_their_shares_and_keep_their_tier(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, tier("a", 0.3) + tier("b", 0.7)))
    dealt = scenario.assign(20_000, seed=1)
    assert abs((dealt == 0).mean() - 0.3) < 0.01
    assert (scenario.assign(100, seed=1) == dealt[:100]).all()
    assert not (scenario.assign(100, seed=2) == dealt[:100]).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (tier("a", 0.3) + tier("b", 0.6), "sum to 0.9"),
        (tier("a", 1.0, gflops=-1), "tier a: gflops is -1"),
        (tier("a", 1.0, gflops=0), "gflops is 0"),
        (tier("a", 1.0).replace("downlink_mbit_s = 10", "downlink_mbit_s = -10"), "downlink_mbit_s is -10"),
        (tier("a", 1.0).replace("efficiency = 0.5", "efficiency = 1.5"), "efficiency is 1.5; .* 0 and at most 1"),
        (tier("a", 1.0).replace("efficiency = 0.5\n", ""), "tier a: efficiency is missing"),
        (tier("a", 1.0, more="uplink_mbits = 3"), "unknown key 'uplink_mbits'; did you mean 'uplink_mbit_s'"),
        (tier("a", 1.0, more="tail_watts = {value = 1, sauce = 'x'}"), "unknown key 'sauce'; did you mean 'source'"),
        (tier("a", 0.5) + tier("a", 0.5), "two tiers have the same name"),
        (tier("a", 1.0) + "[shares]\na = 1", "for a mix with a base"),
        (tier("a", 1.0, more="colour = 3"), "unknown key 'colour'"),
        ("", "tier is missing"),
        ("[[tier]]\nname = 'a'\n", "is missing"),
        ("[[tier", "not valid TOML"),
        (tier("a", 1.0, more="tail_seconds = -1"), "tail_seconds is -1; it must be at least 0"),
        (tier("a", 1.0, gflops=-1), "scenario mix.toml, tier a"),
        *(
            (text, why)
            for value in ("nan", "inf", "-inf", str(10**400))
            for text, why in (
                (tier("a", 1.0).replace("gflops = ", f"gflops = {value} # "), "gflops is .* and finite"),
                (tier("a", 1.0, more=f"tail_seconds = {value}"), "tail_seconds is .* and finite"),
                (tier("a", 1.0).replace("share = ", f"share = {value} # "), "share is .* and at most 1"),
                (tier("a", 1.0) + f"[budget]\nlatency_ms = {value}", "latency_ms is .* and finite"),
                (tier("a", 1.0) + f"[failures]\ndropout = {value}", "dropout is .* and at most 1"),
            )
        ),
        (tier("a", 1.0, more=f"tail_seconds = {'9' * 5000}"), "not valid TOML"),
    ],
)
def test_a_mix_that_cannot_be_is_one_clear_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        load_scenario(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_what_is_nothing_by_default_may_be_nothing(tmp_path: Path) -> None:
    silent = tier("a", 1.0, more="tail_watts = 0\ntail_seconds = 0\n[failures]\ndropout = 0")
    scenario = load_scenario(write(tmp_path, silent))
    assert (scenario.tiers[0].tail_joules, scenario.failures.dropout) == (0, 0)


def test_a_mix_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "mix.toml").write_bytes(b"description = '\xff'")
    with pytest.raises(UserError, match=r"scenario mix\.toml is not valid TOML") as error:
        load_scenario(str(tmp_path / "mix.toml"))
    assert "\n" not in str(error.value)


def test_a_mix_can_be_another_one_with_other_shares(tmp_path: Path) -> None:
    write(tmp_path, tier("a", 0.3) + tier("b", 0.5) + tier("c", 0.2))
    weaker = tmp_path / "weaker.toml"
    weaker.write_text('base = "mix.toml"\n[shares]\na = 0.9\nc = 0.1\n')
    scenario = load_scenario(str(weaker))
    assert [(tier.name, tier.share) for tier in scenario.tiers] == [("a", 0.9), ("c", 0.1)]
    assert (scenario.name, scenario.cloud.gflops) == ("weaker", 100)
    for text, why in (
        ("a = 0.9\nb = 0.2", "sum to 1.1"),
        ("aa = 1.0", "unknown key 'aa'; did you mean 'a'"),
        ("a = -1", "share is -1"),
    ):
        weaker.write_text(f'base = "mix.toml"\n[shares]\n{text}\n')
        with pytest.raises(UserError, match=why):
            load_scenario(str(weaker))
    weaker.write_text('base = "weaker.toml"\n')
    with pytest.raises(UserError, match="each the base of the one before"):
        load_scenario(str(weaker))


def test_the_phone_mix_goes_from_legacy_to_ultra_and_the_uniform_one_has_as_many_of_each() -> None:
    phones, uniform = load_scenario("phones"), load_scenario("uniform")
    assert len(phones.tiers) == 6
    ends = [(t.name, t.gflops, t.downlink_mbit_s, t.uplink_mbit_s) for t in (phones.tiers[0], phones.tiers[-1])]
    assert ends == [("legacy", 41, 13, 6), ("ultra", 2171, 200, 21)]
    assert math.isclose(phones.tiers[0].tail_joules, 12.27056)
    assert [tier.name for tier in uniform.tiers] == [tier.name for tier in phones.tiers]
    assert all(abs(tier.share - 1 / 6) < 1e-6 for tier in uniform.tiers)


def test_no_device_is_stronger_in_the_weaker_mix_of_phones() -> None:
    phones, weaker = load_scenario("phones"), load_scenario("phones-weaker")
    assert [replace(tier, share=0.0) for tier in weaker.tiers] == [replace(tier, share=0.0) for tier in phones.tiers]
    before, after = phones.assign(2_000, seed=3), weaker.assign(2_000, seed=3)
    assert (after <= before).all()
    assert (after < before).mean() > 0.3
    assert abs((after <= 1).mean() - 0.6) < 0.03


def test_the_radio_has_one_tail_after_traffic_and_none_without() -> None:
    phone = replace(PHONE, tail_watts=1.5, tail_seconds=10.0)
    silent = Counts(events=2, macs=10**6, macs_request=0, macs_adapt=0, macs_cloud=0, bits_up=0, bits_down=0)
    assert math.isclose(cost(silent, phone, WORLD).joules, 10e-6)
    assert math.isclose(cost(replace(silent, bits_up=1000, bits_down=1000), phone, WORLD).joules, 10e-6 + 450e-6 + 15)


def test_an_unknown_mix_names_those_there_are() -> None:
    with pytest.raises(UserError, match="paper-device"):
        load_scenario("paper-devise")


def test_a_busy_device_takes_longer_and_no_more_energy() -> None:
    counts = Counts(events=1, macs=10**6, macs_request=10**6, macs_adapt=0, macs_cloud=0, bits_up=0, bits_down=0)
    idle, busy = cost(counts, PHONE, WORLD), cost(counts, PHONE, WORLD, factor=0.25)
    assert math.isclose(busy.seconds_inference, 4 * idle.seconds_inference)
    assert math.isclose(busy.seconds_adapt, 0.004)
    assert busy.joules == idle.joules
