"""A world of two devices: what each can afford, by hand, and what happens to them in a whole run."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.seeds import derive
from sim import run
from sim.config import Config
from sim.data.interactions import Interactions
from sim.rows import RowMaker
from sim.world.availability import Trace
from sim.world.fleet import Fleet
from sim.world.scenario import Cloud, Failures, Limits, Scenario, Tier, load_scenario
from sim.world.streams import build_streams
from strategies.wave import DeviceSession, SessionResult, Status
from tests.support.runs import call, sessions, small_config

WEAK = Tier(
    name="weak",
    share=0.5,
    gflops=4.0,
    efficiency=0.25,
    memory_mbyte=0.1,
    downlink_mbit_s=2.0,
    uplink_mbit_s=1.0,
    picojoule_per_mac=10.0,
    nanojoule_per_bit_down=100.0,
    nanojoule_per_bit_up=500.0,
    tail_watts=1.0,
    tail_seconds=2.0,
)
STRONG = replace(WEAK, name="strong", gflops=400.0, memory_mbyte=50.0, budget=Limits(update_mbit=8.0))
SCENARIO = Scenario("two", "", Cloud(gflops=100.0), (WEAK, STRONG), budget=Limits(latency_ms=2.0, update_mbit=1.5))


def two_devices(**changes: object) -> Fleet:
    """Device 0 has two sessions of 3 and 1 events, device 1 one of 2 events; device 0 is weak, device 1 strong."""
    interactions = Interactions(
        name="two",
        offsets=np.array([0, 20, 30]),
        items=np.ones(30, dtype=np.int32),
        times=np.arange(30),
        user_ids=["a", "b"],
        item_ids=["", "x"],
        item_titles=["", "x"],
        genre_names=[],
        genres=np.zeros((2, 0), dtype=bool),
        change_points=np.array([-1, -1]),
    )
    streams = build_streams(interactions, [0, 1], session_length=3)
    fleet = Fleet(streams, replace(SCENARIO, **changes), seed=0)  # type: ignore[arg-type]
    fleet.tiers = np.array([0, 1])
    return fleet


def test_ceilings_by_hand() -> None:
    fleet = two_devices(availability=Trace(np.array([[0.5, 1.0], [1.0, 1.0]])))
    first, second = fleet.budget(DeviceSession(7, 0, 0)), fleet.budget(DeviceSession(7, 0, 1))
    # 2 ms at half of 1 GFLOPS are 10^6 operations
    assert math.isclose(first.macs, 500_000)
    assert math.isclose(second.macs, 1_000_000)
    assert (first.model_bits, first.update_bits, first.joules) == (800_000, 1_500_000, math.inf)
    assert first.predictions == fleet.longest == 3
    assert math.isclose(first.joules_tail, 2.0)
    strong = fleet.budget(DeviceSession(8, 1, 0))
    assert math.isclose(strong.macs, 100_000_000)
    assert strong.update_bits == 8_000_000  # the tier's own ceiling instead of the mix's


def played(device: int, session: int, status: Status = "ok", **facts: object) -> SessionResult:
    return SessionResult(DeviceSession(10 + device, device, session), status, **facts)  # type: ignore[arg-type]


MEASURED = {"hits": 1, "ndcg": 0.5, "served": 1, "macs": 100_000, "macs_paper": 0, "macs_adapt": 0}
MEASURED |= {"hits_1": 0, "hits_5": 1, "hits_20": 1, "ndcg_5": 0.5, "ndcg_20": 0.5, "mrr": 1 / 3}


def test_rows_of_a_round_by_hand() -> None:
    """A cloud that answers two requests a second: the strong device's request arrives first."""
    fleet = two_devices(
        cloud=Cloud(gflops=100.0, requests_per_second=2.0), availability=Trace(np.array([[0.5, 1.0], [1.0, 1.0]]))
    )
    facts = {"requested": True, "bits_up": 2_000, "macs_device": 1_000_000, "macs_cloud": 5_000_000}
    network = {**MEASURED, "param_bits": 665_600, "path": 0b1}
    weak = played(0, 0, measured=dict(network), bits_down=665_608, **facts)
    strong = played(1, 0, measured=dict(network), bits_down=665_608, **facts)
    rows = RowMaker(fleet, "all")([weak, strong], "forward-ofa", seed=0)
    # arrival: 2 x 10^6 operations at 0.5 (busy) or 100 GFLOPS, 2 kbit at 1 Mbit/s
    arrive = (0.004 + 0.002, 0.00002 + 0.002)
    wait = (arrive[1] + 0.5 - arrive[0], 0.0)
    rest = 0.5 + 1e7 / 100e9 + 665_608 / 2e6  # service, forward pass, downlink
    assert np.allclose(rows.seconds_wait, wait)
    assert np.allclose(rows.seconds_adapt, np.array(arrive) + np.array(wait) + rest)
    assert np.allclose(rows.seconds_inference, [2e5 / 0.5e9, 2e5 / 100e9])
    # 3 and 2 events of 10^5 MACs and 10^6 of the extractors at 10 pJ; traffic; one tail of 2 J
    traffic = 665_608 * 100e-9 + 2_000 * 500e-9 + 2.0
    assert np.allclose(rows.joules, [1.3e6 * 10e-12 + traffic, 1.2e6 * 10e-12 + traffic])
    assert rows.macs_session.tolist() == [1_300_000, 1_200_000]
    assert rows.tier.tolist() == ["weak", "strong"]
    assert rows.status.tolist() == ["ok", "ok"]


def test_who_asks_for_nothing_waits_for_nothing() -> None:
    fleet = two_devices(cloud=Cloud(gflops=100.0, requests_per_second=2.0))
    late = played(1, 0, "late", measured={**MEASURED, "param_bits": 0, "path": 0}, requested=True, bits_up=2_000)
    rows = RowMaker(fleet, "all")(
        [played(0, 0, measured={**MEASURED, "param_bits": 0, "path": 0}), late], "duet", seed=0
    )
    assert rows.seconds_wait.tolist() == [0.0, 0.0]
    assert np.allclose(rows.seconds_adapt, [0.0, 0.002])


def test_sessions_that_begin_apart_wait_less() -> None:
    at_once = two_devices()
    apart = two_devices(cloud=Cloud(gflops=100.0, spread_seconds=60.0))
    device_sessions = [DeviceSession(0, 0, 0), DeviceSession(1, 1, 0)]
    assert [at_once.arrival(device_session, 0, 1_000_000) for device_session in device_sessions] == [1.0, 1.0]
    starts = [derive(0, "start", device, 0) / 2**63 * 60 for device in (0, 1)]
    assert [apart.arrival(device_session, 0, 1_000_000) for device_session in device_sessions] == [
        1.0 + start for start in starts
    ]


def test_fates_are_as_frequent_as_their_chances_and_the_same_for_everybody() -> None:
    fleet = two_devices(failures=Failures(dropout=0.1, late=0.2, vanish=0.3))
    failures = [fleet.failure(DeviceSession(0, device, session)) for device in range(500) for session in range(10)]
    shares = {name: failures.count(name) / len(failures) for name in ("dropped", "late", "vanished", "ok")}
    for name, share in {"dropped": 0.1, "late": 0.2, "vanished": 0.3, "ok": 0.4}.items():
        assert abs(shares[name] - share) < 0.03, name
    assert failures == [
        fleet.failure(DeviceSession(9, device, session)) for device in range(500) for session in range(10)
    ]


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    return small_config(tmp_path, devices=8, epochs=1, sessions=2)


def play(config: Config, folder: Path, name: str, text: str) -> pd.DataFrame:
    """The rows of a run in a scenario that is the paper's with something more."""
    (folder / f"{name}.toml").write_text(f'base = "paper-device"\n{text}\n')
    out = folder / f"run-{name}"
    run.main(replace(config, scenario=str(folder / f"{name}.toml"), out=out))
    return sessions(out)


def test_budgets_bind_in_a_whole_run(config: Config, tmp_path: Path) -> None:
    run.main(config)
    free = sessions(config.folder)

    one = play(config, tmp_path, "one", "[budget]\nupdate_mbit = 0.7")  # one block is 0.6656 Mbit
    forward, before = one[one.method == "forward-ofa"], free[free.method == "forward-ofa"]
    assert (before.blocks > 1).any()
    assert (forward.blocks == before.blocks.clip(upper=1)).all()
    assert ((forward.path & before.path) == forward.path).all()
    assert forward.served.all()
    assert (forward.bits_down == forward.blocks * 665_600 + 8).all()
    duet = one[one.method == "duet"]
    assert not duet.served.any()
    assert not duet.requested.any()
    assert (duet[["bits_up", "bits_down", "macs", "blocks", "joules", "seconds_adapt"]] == 0).all().all()
    for method in ("devicerec", "finetune"):  # nothing comes down, so nothing binds
        pd.testing.assert_frame_equal(one[one.method == method], free[free.method == method])

    none = play(config, tmp_path, "none", "[budget]\nmodel_mbyte = 0.08")  # one block is 0.0832 MB
    assert (none.blocks == 0).all()
    assert none.served.equals(none.method == "forward-ofa")  # a network of no blocks scores by its embeddings
    fallback = none[none.method != "forward-ofa"].pivot_table("ndcg", ["device", "session"], "method")
    assert (fallback["devicerec"] == fallback["duet"]).all()
    assert (fallback["devicerec"] == fallback["finetune"]).all()

    nothing = play(config, tmp_path, "nothing", "[budget]\nlatency_ms = 0.000001")
    assert not nothing.served.any()
    assert (nothing[["macs", "bits_up", "bits_down", "joules"]] == 0).all().all()
    assert len(nothing) == len(free)
    assert (nothing.events == free.events).all()


def test_a_device_without_the_energy_to_train_plays_the_installed_network(config: Config, tmp_path: Path) -> None:
    methods = replace(config, methods="devicerec,finetune")
    run.main(methods)
    free = sessions(methods.folder)
    trained = free[free.method == "finetune"].joules
    some = float(trained.median())
    rows = play(methods, tmp_path, "lean", f"[budget]\nsession_joules = {some}")
    tuned, static = rows[rows.method == "finetune"], rows[rows.method == "devicerec"]
    assert rows.served.all()
    lean = tuned.seconds_adapt == 0
    assert 0 < lean.sum() < len(tuned)
    assert (tuned[lean].ndcg.to_numpy() == static[lean.to_numpy()].ndcg.to_numpy()).all()
    assert (rows.joules <= some).all()


def test_failures_cost_their_own_sessions_and_every_session_is_accounted_for(config: Config, tmp_path: Path) -> None:
    run.main(config)
    free = sessions(config.folder)
    failing = play(config, tmp_path, "failing", "[failures]\ndropout = 0.2\nlate = 0.2\nvanish = 0.2")
    keys = ["method", "device", "session", "events"]
    pd.testing.assert_frame_equal(failing[keys], free[keys])
    status = failing.pivot(index=["device", "session"], columns="method", values="status")
    assert set(status["forward-ofa"]) == {"ok", "dropped", "late", "vanished"}
    assert status["forward-ofa"].equals(status["duet"])
    assert status["devicerec"].equals(status["forward-ofa"].replace("late", "ok"))  # who asks nothing is not late

    fine = failing.status == "ok"
    pd.testing.assert_frame_equal(failing[fine], free[fine])
    dropped, late, vanished = (failing[failing.status == name] for name in ("dropped", "late", "vanished"))
    assert (dropped[["hits", "ndcg", "bits_up", "bits_down", "macs", "joules", "seconds_adapt"]] == 0).all().all()
    assert not failing[~fine].served.any()
    assert late.requested.all()
    assert (late.bits_up == 64 * 32 + 8).all()
    assert (late[["bits_down", "macs", "blocks"]] == 0).all().all()
    assert (vanished[["hits", "ndcg", "blocks"]] == 0).all().all()
    spent = ["macs", "macs_session", "bits_up", "bits_down", "joules", "seconds_adapt", "adapted", "requested"]
    pd.testing.assert_frame_equal(vanished[spent], free.loc[vanished.index, spent])
    assert (vanished.joules > 0).all()


def test_a_request_that_takes_too_long_is_late(config: Config, tmp_path: Path) -> None:
    one = replace(config, methods="duet")
    rows = play(one, tmp_path, "slow", "[failures]\ndeadline_seconds = 0.00001")
    assert (rows.status == "late").all()
    assert not rows.served.any()
    # popularity without a network is what the device has then
    assert rows.hits.sum() > 0


def test_a_burst_waits_in_a_whole_run(config: Config, tmp_path: Path) -> None:
    one = replace(config, methods="forward-ofa", sessions=1)
    run.main(one)
    free = sessions(one.folder)
    rows = play(one, tmp_path, "queue", "[cloud]\ngflops = 35580\nrequests_per_second = 4")
    assert np.allclose(sorted(rows.seconds_wait), np.arange(8) / 4, atol=1e-3)
    assert np.allclose(rows.seconds_adapt - rows.seconds_wait - 0.25, free.seconds_adapt)
    pd.testing.assert_frame_equal(
        rows.drop(columns=["seconds_adapt", "seconds_wait"]), free.drop(columns=["seconds_adapt", "seconds_wait"])
    )


def test_a_sweep_plays_each_mix_and_compares_them(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tight.toml").write_text('base = "paper-device"\n[budget]\nupdate_mbit = 0.7\n')
    options = ["--dataset", config.dataset, "--devices", "6", "--blocks", "2", "--epochs", "1", "--sessions", "1"]
    options += ["--methods", "devicerec,forward-ofa", "--references", "none", "--quiet"]
    options += ["--out", str(tmp_path / "sweep")]
    mixes = ["--scenario", "paper-device", f"--scenario={tmp_path / 'tight.toml'}"]
    assert call([*options, *mixes], monkeypatch) == 0
    assert sessions(tmp_path / "sweep" / "tight").blocks.max() <= 2
    assert len(sessions(tmp_path / "sweep" / "paper-device")) == 12
    table = pd.read_csv(tmp_path / "sweep" / "comparison" / "comparison.csv")
    assert table.groupby("setting").size().tolist() == [2, 2]
    assert "Comparison" in capsys.readouterr().out
    for second, why in (("paper-device", "twice"), ("moon", "unknown scenario 'moon'")):
        assert call([*options, "--scenario", "paper-device", "--scenario", second], monkeypatch) == 2
        error = capsys.readouterr().err
        assert why in error
        assert len(error.strip().splitlines()) == 1


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[shares]\nphone = 0.5", "shares of its tiers sum to 0.5"),
        ("[cloud]\ngflops = -1", "[cloud]: gflops is -1"),
        ("[budgets]\nlatency_ms = 1", "unknown key 'budgets'; did you mean 'budget'"),
        ("[share]\nphone = 1", "unknown key 'share'; did you mean 'shares'"),
        ("[shares]\nphone = 0", "phone is 0; leave out a tier that no device is of"),
    ],
)
def test_the_command_says_in_one_line_which_file_and_key_cannot_be_and_leaves_nothing(
    tmp_path: Path, text: str, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mix.toml").write_text(f'base = "paper-device"\n{text}\n')
    assert call(["--scenario", str(tmp_path / "mix.toml"), "--out", str(tmp_path / "run")], monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: scenario mix.toml")
    assert why in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[failures]\ndropout = 0.6\nlate = 0.6", "sum to 1.2"),
        ("[failures]\ndropout = 2", "at most 1"),
        ("[failures]\ndropouts = 0.1", "did you mean 'dropout'"),
        ("[cloud]\nrequests_per_second = 1", "gflops is missing"),
        ("[budget]\nlatency = 3", "unknown key 'latency'; did you mean 'latency_ms'"),
        ("[budget]\nupdate_mbit = -1", "update_mbit is -1; it must be greater than 0"),
        ("budget = 3", "no table"),
    ],
)
def test_a_budget_that_cannot_be_is_one_clear_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mix.toml").write_text(f'base = "paper-device"\n{text}\n')
    with pytest.raises(UserError, match=why) as error:
        load_scenario(str(tmp_path / "mix.toml"))
    assert "\n" not in str(error.value)
