"""Sweeps: which runs repeated options make, what one run takes over from another, and that a killed sweep goes on."""

from pathlib import Path

import pandas as pd
import pytest

import analysis
from core.errors import UserError
from core.run_folder import RunFolder
from sim import data, play, run
from sim.config import Config
from sim.policy import setup
from sim.sweep import Sweep, split
from strategies.wave import SessionResult
from tests.support.runs import call, sessions, stop_after, write_csv


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(analysis, "build_report", lambda folder: (folder / "report.html").write_text("done"))
    data = write_csv(tmp_path / "tiny.csv")
    sizes = "--devices 8 --methods devicerec,forward-ofa --references none --candidates all"
    sizes += " --blocks 1 --context 5 --memory 8 --epochs 1 --session-length 2"
    return ["--dataset", str(data), *sizes.split(), "--quiet", "--out", str(tmp_path / "sweep")]


def test_the_runs_are_the_product_of_what_is_repeated() -> None:
    given = (
        "--drift abrupt --seed 3 --policy never --policy=mrd --policy drift:0.2 --request-rate 0.1 --request-rate .3"
    )
    rest, sweep = split(given.split())
    assert rest == ["--seed", "3"]
    configs = sweep.configs(Config(out=Path("/runs"), seed=3))
    facts = [(c.folder.name, c.drift, c.policy, c.request_rate, c.seed) for c in configs]
    assert facts == [
        ("never", "abrupt", "never", None, 3),
        ("mrd-0.1", "abrupt", "mrd", 0.1, 3),
        ("mrd-0.3", "abrupt", "mrd", 0.3, 3),
        ("drift_0.2", "abrupt", "drift:0.2", None, 3),
    ]
    assert len({c.folder for c in Sweep(sweep.values).configs(Config())}) == 4


def test_a_delivery_without_a_code_is_played_once() -> None:
    words = "--delivery weights --delivery code --delivery local --code-bits 16 --code-bits 8"
    rest, sweep = split(words.split())
    assert rest == []
    configs = sweep.configs(Config(methods="duet-plus", out=Path("/runs")))
    facts = [(c.folder.name, c.delivery, c.code_bits) for c in configs]
    assert facts == [("weights", "weights", 32), ("code-16", "code", 16), ("code-8", "code", 8), ("local", "local", 32)]


def test_sessions_of_several_lengths_are_several_runs() -> None:
    rest, sweep = split(["--session-length", "10", "--policy", "never", "--session-length", "3", "--drift", "abrupt"])
    assert rest == []
    facts = [(c.folder.name, c.session_length, c.policy, c.drift) for c in sweep.configs(Config(out=Path("/runs")))]
    assert facts == [("10", 10, "never", "abrupt"), ("3", 3, "never", "abrupt")]


def test_what_is_not_repeated_is_left_to_the_parser() -> None:
    given = ["--drift", "abrupt", "--policy", "mrd", "--request-rate=0.1"]
    assert split(given) == (given, Sweep({}))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"policy": ["never", "sometimes"]}, "unknown policy 'sometimes'"),
        ({"policy": ["never", "always"], "request_rate": ["0.1"]}, "no policy of never, always has a parameter"),
        ({"policy": ["mrd", "random"], "request_rate": ["0.1", "often"]}, "'often', not a number"),
        ({"policy": ["mrd", "random"], "request_rate": ["2"]}, "--request-rate is 2"),
        ({"drift": ["abrupt", "abrupt"]}, "--drift names 'abrupt' twice"),
        ({"policy": ["mrd"], "request_rate": ["0.3", ".3"]}, "--request-rate names '0.3' twice"),
        ({"drift": ["abrupt", "earthquake"]}, "unknown drift 'earthquake'"),
        ({"delivery": ["weights", "pigeon"]}, "unknown delivery 'pigeon'"),
        ({"delivery": ["code", "code"]}, "--delivery names 'code' twice"),
        ({"delivery": ["code"], "code_bits": ["8", "few"]}, "--code-bits is 'few', not a whole number"),
        ({"session_length": ["10", "short"]}, "--session-length is 'short', not a whole number"),
        ({"session_length": ["10", "0"]}, "--session-length is 0"),
        ({"delivery": ["weights", "local"], "code_bits": ["8", "16"]}, "no code with --delivery weights, local"),
        ({"delivery": ["weights", "code"]}, "the mapper of 'duet' has no code"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_played(values: dict[str, list[str]], why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        Sweep(values).configs(Config())
    assert "\n" not in str(error.value)


def test_a_run_of_a_sweep_has_the_rows_it_would_have_alone(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["--compare-stale", "--drift", "natural", "--drift", "abrupt", "--policy", "mrd", "--policy", "random"]
    played: list[str] = []
    real = play.play_wave

    def noted(strategy: play.SessionStrategy, *args: object, **kwargs: object) -> list[SessionResult]:
        played.append(strategy.name)
        return real(strategy, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(play, "play_wave", noted)
        assert call([*options, *chosen, "--request-rate", "0.4"], monkeypatch) == 0

    def own_folder(drift: str, policy: str) -> Path:
        return tmp_path / "sweep" / f"{drift}-{policy}"

    # Once for each drift, instead of once for each of four runs.
    assert played.count("devicerec") * 2 == played.count("forward-ofa")
    for drift in ("natural", "abrupt"):
        for policy in ("mrd", "random"):
            alone = tmp_path / f"alone-{drift}-{policy}"
            given = ["--compare-stale", "--drift", drift, "--policy", policy, "--request-rate", "0.4"]
            assert call([*options[:-1], str(alone), *given], monkeypatch) == 0
            own = sessions(own_folder(drift, policy))
            pd.testing.assert_frame_equal(own, sessions(alone), check_exact=True)
            coverages = [pd.read_csv(folder / "coverage.csv") for folder in (own_folder(drift, policy), alone)]
            pd.testing.assert_frame_equal(*coverages)
            assert coverages[0]["recommended"].notna().all()
    first, second = (sessions(tmp_path / "sweep" / f"{drift}-mrd") for drift in ("natural", "abrupt"))
    assert (first.ndcg != second.ndcg).any()


def test_data_thresholds_and_detectors_are_made_once_for_all_drifts(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = setup.train_detector
    monkeypatch.setattr(setup, "train_detector", lambda *given: calls.append("detector") or real(*given))
    monkeypatch.setattr(setup, "calibrate", lambda *given: calls.append("threshold") or 0.5)
    load = data.load
    monkeypatch.setattr(data, "load", lambda *given, **more: calls.append("data") or load(*given, **more))
    chosen = ["--drift", "natural", "--drift", "abrupt", "--policy", "mrd"]
    assert call([*options, *chosen, "--request-rate", "0.2", "--request-rate", "0.4"], monkeypatch) == 0
    assert sorted(calls) == ["data", "detector", "threshold", "threshold"]
    assert (tmp_path / "sweep" / "abrupt-0.4" / "policies" / "0-forward-ofa.json").exists()


def test_a_killed_sweep_goes_on_and_plays_nothing_twice(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [*options, "--policy", "never", "--policy", "random", "--policy", "every:2"]
    with monkeypatch.context() as patch:
        rounds = 2 * sessions_a_device(chosen, tmp_path, monkeypatch)
        stop_after(rounds + 2, patch, RunFolder, "save_part")  # in the second run
        assert call(chosen, monkeypatch) == 130
    assert "the same command continues the sweep" in capsys.readouterr().err
    assert [(tmp_path / "sweep" / name / "report.html").exists() for name in ("never", "random")] == [True, False]
    with monkeypatch.context() as patch:
        started: list[str] = []
        real = run.borrow
        patch.setattr(run, "borrow", lambda *one: started.append(one[1].policy) or real(*one))
        assert call(chosen, monkeypatch) == 0
    assert started == ["random", "every:2"]
    table = pd.read_csv(tmp_path / "sweep" / "comparison" / "comparison.csv")
    assert table["label"].unique().tolist() == ["policy never", "policy random", "policy every:2"]


def sessions_a_device(chosen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rounds of one method."""
    alone = [*chosen[: chosen.index("--out")], "--out", str(tmp_path / "alone")]
    assert call(alone, monkeypatch) == 0
    return int(sessions(tmp_path / "alone").session.max()) + 1
