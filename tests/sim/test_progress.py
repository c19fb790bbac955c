"""What the user sees while a run goes on: on a terminal, in a file, or nothing; and how a run is interrupted there."""

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from clients.app import app
from sim import run
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from sim.observers import progress
from sim.observers.progress import Display, Training, clock, epochs_expected
from sim.observers.tensorboard import curves_in
from strategies.training.learner import Recipe
from strategies.training.loop import EpochRecord


def rows(sessions: int, ndcg: float, served: int, requested: int, bits: int) -> pd.DataFrame:
    """A round; the numbers are those of all its sessions together."""
    frame = pd.DataFrame({"events": [5] * sessions, "ndcg": [ndcg / sessions] * sessions, "bits_up": [0] * sessions})
    return frame.assign(
        bits_down=bits / sessions,
        served=[i < served for i in range(sessions)],
        requested=[i < requested for i in range(sessions)],
    )


def display(width: int, terminal: bool = True, quiet: bool = False) -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    return Display(quiet=quiet, console=Console(file=out, force_terminal=terminal, width=width, color_system=None)), out


def shown(of: Display, width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    console.print(of.frame())
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_display_has_phase_numbers_and_time_left_and_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    it, _ = display(width)
    with it.open("ml1m, 1,000 devices", phases=3):
        model = it.training("Forward-OFA", lambda records: 6 if records else 60)
        it.phase("training the cloud models", [model])
        with it.doing(model):
            model.on_batch(1, 10, [])
            now[0] += 30
            model.on_batch(5, 10, [EpochRecord(1, 4.5, 0.031, 0.06, 1.0)])
            text = "\n".join(shown(it, width))
            assert "1 of 3: training the cloud models" in text
            # 1.5 of 6 epochs in 30 s: 4.5 more take 90 s
            assert re.search(r"Forward-OFA +\S+ +2 of ~6 +1:30 min +4\.500 +0\.0310", text)
            model.on_end([EpochRecord(1, 4.5, 0.031, 0.06, 1.0), EpochRecord(2, 4.0, 0.029, 0.06, 1.0)], fresh=True)
        works = [it.playing("DeviceRec", 1234), it.playing("w.o. structural vector", 31_999)]
        it.phase("playing the sessions", works)
        with it.doing(works[1]):
            now[0] += 10
            works[1].on_round(rows(1000, ndcg=600.0, served=999, requested=500, bits=4_000_000_000), fresh=True)
            works[1].on_wave(256)
            lines = shown(it, width)
        text = "\n".join(lines)
        assert "✓ training the cloud models: 30 s" in text
        assert "2 of 3: playing the sessions" in text
        assert re.search(r"DeviceRec +0/1,234 +waiting", text)
        # 600 of 5,000 events' NDCG; 1,256 of 31,999 sessions in 10 s
        assert re.search(r"1,256/31,999 +4:05 min +0\.1200 +99\.9 +500 +4,000$", text, re.MULTILINE)
        assert max(map(len, lines)) <= width
        assert "structural" in text  # a long name goes on below, nothing is cut


def test_several_trainings_at_a_time_have_their_own_estimates_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    it, out = display(80, terminal=False)
    first, second = it.training("DUET", lambda records: 4), it.training("STTD", lambda records: 2)
    it.phase("training the cloud models", [first, second])
    with it.doing(first):
        now[0] = 10.0
        with it.doing(second):
            now[0] = 20.0
            first.on_batch(1, 2, [EpochRecord(1, 4.0, 0.1, 0.1, 1.0)])  # 20 s since its own beginning
            second.on_batch(1, 2, [])  # 10 s
            assert first.left == pytest.approx(20.0 * 2.5 / 0.5)
            now[0] = 30.0
            first.on_batch(1, 2, first.records)  # 10 s since its line
            second.on_batch(1, 1, [])
    assert [line.split(";")[0] for line in out.getvalue().splitlines()] == [
        "train DUET: 2 of 4, about 1:40 min left",
        "train STTD: 1 of 2, about 20 s left",
        "train STTD: done in 20 s",
        "train DUET: done in 30 s",
    ]


def test_of_more_work_than_the_terminal_has_lines_what_is_being_done_is_shown() -> None:
    it, _ = display(80)
    works = [it.training(f"model {number}", lambda records: 2) for number in range(90)]
    it.phase("training the cloud models", works)
    for work in works[:70]:
        with it.doing(work):
            pass
    with it.doing(works[70]), it.doing(works[89]):
        lines = shown(it, 80)
    assert len(lines) <= 25  # the height of this terminal
    assert {"model 70", "model 71", "model 89"} <= {line[:8] for line in lines}
    assert not {"model 0 ", "model 69"} & {line[:8] for line in lines}
    assert lines[-1].endswith("of 90, 70 are done")


def test_what_an_earlier_run_had_done_says_nothing_about_the_speed_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    it, _ = display(100, quiet=True)
    work, model = it.playing("DUET", 40), it.training("DUET", lambda records: 8)
    with it.doing(work):
        work.on_round(rows(20, 1.0, 20, 20, 100), fresh=False)
        assert work.left is None
        now[0] = 5.0
        work.on_round(rows(10, 1.0, 10, 10, 100), fresh=True)
        assert work.left == pytest.approx(5.0)  # 10 in 5 s, 10 to go
    with it.doing(model):
        model.on_batch(1, 4, [EpochRecord(i, 1.0, 0.1, 0.1, 1.0) for i in (1, 2, 3)])
        now[0] += 3.0
        model.on_batch(2, 4, model.records)
        assert model.left == pytest.approx(3.0 * 4.5 / 0.5)


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_piece_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    it, out = display(80, terminal=False)
    with it.open("synthetic", phases=2):
        model, work = it.training("DUET", len), it.playing("DUET", 40)
        it.phase("training the cloud models", [model])
        with it.doing(model):
            model.on_end([EpochRecord(1, 4.25, 0.05, 0.1, 1.0)], fresh=False)
        it.phase("playing the sessions", [work])
        with it.doing(work):
            work.on_round(rows(10, 6.0, 9, 8, 2_500_000), fresh=True)
            now[0] += progress.LINE_EVERY
            work.on_round(rows(10, 4.0, 9, 8, 2_500_000), fresh=True)
            now[0] += 1
            work.on_round(rows(20, 10.0, 20, 16, 5_000_000), fresh=True)
            now[0] += 1
    assert out.getvalue().splitlines() == [
        "train DUET: from the cache; loss 4.250, best validation NDCG@10 0.0500",
        "play DUET: 20 of 40, about 15 s left; NDCG@10 0.1000, served 90.0 %, 16 requests, 5.0 Mbit",
        "play DUET: done in 17 s; NDCG@10 0.1000, served 95.0 %, 32 requests, 10.0 Mbit",
    ]


def test_quiet_says_nothing() -> None:
    it, out = display(80, quiet=True)
    with it.open("synthetic", phases=1):
        work = it.playing("DUET", 10)
        it.phase("playing the sessions", [work])
        with it.doing(work):
            work.on_round(rows(10, 6.0, 9, 8, 1), fresh=True)
        it.say("finished")
    assert out.getvalue() == ""


def test_durations_are_written_for_people() -> None:
    assert [clock(s) for s in (0.4, 59.4, 59.6, 187, 3727)] == ["0 s", "59 s", "1:00 min", "3:07 min", "1:02:07 h"]


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, arguments: list[str]) -> None:
        self.screen, own = pty.openpty()
        environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            arguments, stdin=own, stdout=own, stderr=own, env=environment, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # makes it the controlling terminal
        )  # fmt: skip
        os.close(own)
        self.text = ""

    def read(self, until: str) -> bool:
        """Take in what is painted until it matches, or until the command has ended; whether it did."""
        while not re.search(until, self.text):
            try:
                chunk = os.read(self.screen, 1 << 16)
            except OSError:  # Linux' way to say that nobody holds the other end any more
                return False
            self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", chunk.decode(errors="replace"))
        return True

    def interrupt(self) -> int:
        """Type Ctrl-C."""
        os.write(self.screen, b"\x03")
        self.read("never painted")
        os.close(self.screen)
        return self.process.wait()


def play_all(config: Config) -> None:
    """The run in this process."""
    execute(config.check().absolute(), InProcessGrid(app, config.devices, seed=config.seed))


def test_the_estimate_of_a_training_counts_its_search() -> None:
    recipe = Recipe(max_epochs=30, patience=3, warmup_epochs=4)
    rising = [EpochRecord(epoch, 1.0, 0.1 - 0.01 * abs(epoch - 9), 0.1, 1.0) for epoch in range(1, 16)]  # best: 9
    assert epochs_expected(recipe, 0, []) == 30
    assert epochs_expected(recipe, 5, rising[:5]) == 35
    assert epochs_expected(recipe, 0, rising[:3]) == 7  # the first four do not count
    assert epochs_expected(recipe, 0, rising[:10]) == 12
    assert epochs_expected(recipe, 5, rising[:8]) == 12
    assert epochs_expected(recipe, 10, rising[:12]) == 17  # epoch 9 is not kept
    assert epochs_expected(recipe, 0, rising[:14]) == 15


@pytest.mark.slow
def test_ctrl_c_in_training_and_in_playing_ends_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("analysis.build_report", lambda run_folder: None)
    config = Config(
        references="none",
        candidates="all",
        devices=40,
        blocks=1,
        epochs=8,
        methods="finetune,duet",
        cloud_users="simulated",
        out=tmp_path / "run",
        quiet=True,
    )
    options = ["--devices", "40", "--blocks", "1", "--epochs", "8", "--methods", "finetune,duet"]
    options += ["--references", "none", "--candidates", "all", "--cloud-users", "simulated"]
    command = [sys.executable, "-m", "sim.run", *options, "--out", str(tmp_path / "run")]
    for phase, until in (("training", r"[1-9] of ~8"), ("playing", r"[1-9]\d*/\d+ [^\n]*0\.\d{4}")):
        terminal = Terminal(command)
        assert terminal.read(f"{phase} the [^✓]*{until}"), terminal.text
        assert terminal.interrupt() == 130, terminal.text
        assert "Traceback" not in terminal.text
        said = terminal.text.replace("\r", "").strip().splitlines()
        assert said[-2] == f"interrupted; the same command continues {tmp_path / 'run'}:"
        assert shlex.split(said[-1]) == command
        assert not (tmp_path / "run" / "sessions.parquet").exists()
    assert list((tmp_path / "run" / "parts").iterdir())
    play_all(config)
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "another cache"))
    play_all(replace(config, out=tmp_path / "whole"))
    continued, whole = (pd.read_parquet(tmp_path / name / "sessions.parquet") for name in ("run", "whole"))
    pd.testing.assert_frame_equal(continued, whole, check_exact=True)


def test_tensorboard_finds_the_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = [EpochRecord(epoch, 5.0 - epoch, 0.1 * epoch, 0.2 * epoch, 1.0) for epoch in (1, 2, 3)]
    for _ in range(2):  # the second time as a run that is continued
        with curves_in(tmp_path, wanted=True) as curves:
            (training,), (playing,) = curves.training("duet", 7), curves.playing("duet", 7)
            training.on_epoch(records[:2])
            training.on_epoch(records)
            training.on_end(records, fresh=True)
            for _ in range(2):
                playing.on_round(rows(10, 5.0, 9, 8, 2_000_000), fresh=True)

    def points(folder: str, tag: str) -> list[tuple[int, float]]:
        found = EventAccumulator(str(tmp_path / "tensorboard" / folder)).Reload().Scalars(tag)
        return [(point.step, pytest.approx(point.value)) for point in found]

    assert points("train-duet-7", "training/loss") == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert points("train-duet-7", "validation/NDCG@10") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert points("play-duet-7", "sessions/NDCG@10") == [(10, 0.1), (20, 0.1)]
    assert points("play-duet-7", "sessions/megabits") == [(10, 2.0), (20, 4.0)]


def test_without_the_flag_nothing_is_written_for_tensorboard(tmp_path: Path) -> None:
    with curves_in(tmp_path, wanted=False) as curves:
        assert not curves.training("duet", 0)
        assert not curves.playing("duet", 0)
    assert not list(tmp_path.iterdir())


def test_tensorboard_that_is_not_installed_is_one_line_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(sys, "argv", ["sim.run", "--tensorboard", "--out", str(tmp_path / "run")])
    assert run.cli(run.main, "test") == 2
    error = capsys.readouterr().err.strip()
    assert error == "error: --tensorboard needs the package tensorboard: pip install 'forward-ofa-sim[tensorboard]'"
    assert not (tmp_path / "run").exists()


def test_tensorboard_is_no_part_of_what_a_run_is() -> None:
    assert Config(tensorboard=True).identity() == Config().identity()
    assert Training("DUET", len).left is None
