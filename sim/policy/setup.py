"""What the simulation tells each device about its request policy, and what the policy needs before the play begins."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from clients.decision import Rules
from clients.policies import Policy, parse
from core.errors import UserError
from core.seeds import numpy_generator
from models.checkpoint import load_device, load_mapper
from models.misrecommendation import load_detector, save_detector
from sim.config import Config
from sim.data.interactions import Interactions
from sim.policy.backtest import Rehearsal
from sim.policy.calibration import Trial, calibrate, request_rate
from sim.run_folder import RunFolder, write_text
from sim.world.streams import Streams, sessions_since_switch
from strategies.base import AdaptiveStrategy, Seat, SessionStrategy
from strategies.training.detector import train_detector


class Desk:
    """The rules by which the devices decide, for one method and seed."""

    def __init__(
        self, kind: type[Policy], parameters: list[float], memory: Path, streams: Streams, seed: int, compare: bool
    ) -> None:
        """``parameters`` holds one for each device; ``memory`` is the folder of their memories."""
        self.kind, self.parameters, self.memory, self.seed, self.compare = kind, parameters, memory, seed, compare
        self.detector = ""
        self._first = streams.session_offsets[:-1]
        self._switches = sessions_since_switch(streams)

    def rules(self, seat: Seat) -> Rules:
        """Those of one device-session. The change points are told to an oracle and to nobody else."""
        parameter = "" if self.kind.default is None else f":{self.parameters[seat.device]!r}"
        return Rules(
            policy=f"{self.kind.name}{parameter}",
            memory=str(self.memory),
            draw=float(numpy_generator(self.seed, "policy", seat.device, seat.session).random()),
            switch=int(self._switches[self._first[seat.device] + seat.session]) if self.kind.name == "oracle" else -1,
            detector=self.detector,
            compare=self.compare,
        )

    def close(self) -> None:
        """The method has been played: its devices need to remember nothing any more."""
        shutil.rmtree(self.memory, ignore_errors=True)


def open_desk(
    config: Config,
    run: RunFolder,
    interactions: Interactions,
    streams: Streams,
    method: type[SessionStrategy],
    model: Path,
    seed: int,
) -> Desk | None:
    """The desk of a method; None where devices never adapt, or always do, remember nothing, and nothing is compared.

    What has to be trained or calibrated is kept in the run folder, so that a run that goes on goes on with the same.
    """
    kind, parameter = parse(config.policy)
    if not method.adapts or (kind.name == "always" and not config.compare_stale and not method.remembers):
        return None
    label = f"{seed}-{method.name}"
    desk = Desk(kind, [], run.world / "devices" / label, streams, seed, config.compare_stale)
    calibrates = config.request_rate is not None and kind.rising is not None
    if "doubt" in kind.needs or calibrates:
        rehearsal = Rehearsal(
            load_device(model),
            load_mapper(model) if issubclass(method, AdaptiveStrategy) else None,
            interactions,
            streams,
            session_length=config.session_length,
            session_gap=config.session_gap,
            context=config.resolved_context,
            memory=config.resolved_memory,
        )
        if "doubt" in kind.needs:
            desk.detector = str(_detector(run.models / f"mrd-{label}.safetensors", rehearsal, seed))
    if calibrates:
        assert config.request_rate is not None
        note = run.path / "policies" / f"{label}.json"
        if not note.exists():
            trials = _trials(rehearsal, kind, desk.detector)
            found = thresholds(kind, config.request_rate, trials, config.request_scope, streams.num_devices)
            rates = [request_rate(kind(found[device]), [trial]) * trial.chances for device, trial in trials.items()]
            chances = max(sum(trial.chances for trial in trials.values()), 1)
            note.parent.mkdir(exist_ok=True)
            write_text(
                note,
                json.dumps({"policy": kind.name, "rehearsed_rate": sum(rates) / chances, "parameters": found}),
            )
        desk.parameters = json.loads(note.read_text(encoding="utf-8"))["parameters"]
    else:
        by_rate = None if config.request_rate is None else kind.for_rate(config.request_rate)
        chosen = next((p for p in (by_rate, parameter, kind.default) if p is not None), 0.0)
        desk.parameters = [chosen] * streams.num_devices
    return desk


def thresholds(kind: type[Policy], rate: float, trials: dict[int, Trial], scope: str, devices: int) -> list[float]:
    """Each device's threshold: one for all (``population``) or its own (``device``), where it has trial sessions."""
    if not any(trial.chances for trial in trials.values()):
        raise UserError("--request-rate: no device has a history of two trial sessions to calibrate a threshold on")
    found = [calibrate(kind, rate, list(trials.values()))] * devices
    if scope == "device":
        for device, trial in trials.items():
            if trial.chances:
                found[device] = calibrate(kind, rate, [trial])
    return found


def _trials(rehearsal: Rehearsal, kind: type[Policy], detector: str) -> dict[int, Trial]:
    """By device; what the policy does not look at is not computed."""
    doubting = load_detector(Path(detector)) if detector else None
    seen: dict[bytes, float] = {}

    def doubt(stale: np.ndarray, fresh: np.ndarray) -> float:
        assert doubting is not None
        key = stale.tobytes() + fresh.tobytes()
        if key not in seen:
            seen[key] = float(doubting.doubt(torch.from_numpy(stale[None]), torch.from_numpy(fresh[None])))
        return seen[key]

    offsets = rehearsal.streams.session_offsets
    out = {}
    for index, device in enumerate(rehearsal.devices.tolist()):
        rows = slice(int(offsets[index]), int(offsets[index + 1]))
        losses = rehearsal.first_losses[rows] if "losses" in kind.needs else []
        out[device] = Trial(rehearsal.interests[rows], losses, doubt)
    return out


def _detector(path: Path, rehearsal: Rehearsal, seed: int) -> Path:
    if not path.exists():
        samples = rehearsal.samples(seed)
        if len(samples.right) == 0:
            raise UserError("--policy mrd: no device has a history of two trial sessions to train a detector on")
        save_detector(path, train_detector(samples, rehearsal.installed.part.backbone.items, seed))
    return path
