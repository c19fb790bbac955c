"""What the simulation tells each device about its request policy, and what the policy needs before the play begins."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from clients.decision import PolicyConfig
from clients.policies import Policy, parse
from core import atomic, sealed
from core.errors import Damaged, UserError
from core.run_folder import RunFolder, reason
from core.seeds import numpy_generator
from models.checkpoint import file_digest, load_device, load_mapper, read_header
from models.misrecommendation import load_detector, save_detector
from sim.config import Config
from sim.data.interactions import Interactions
from sim.policy.backtest import Backtest
from sim.policy.calibration import Trial, calibrate, request_rate
from sim.world.streams import Streams, sessions_since_switch
from strategies.adaptive import AdaptiveStrategy
from strategies.base import SessionStrategy
from strategies.training.detector import train_detector
from strategies.wave import DeviceSession

log = logging.getLogger(__name__)


class PolicySetup:
    """The request policy of every device, for one method and seed."""

    def __init__(
        self,
        kind: type[Policy],
        parameters: list[float],
        state: str,
        streams: Streams,
        seed: int,
        compare: bool,
        since: np.ndarray | None = None,
    ) -> None:
        """``parameters`` holds one for each device; ``state`` is the name under which they keep what they
        remember.

        ``since`` ``(S,)`` is the first session of the device with the same version of the model; None: session 0.
        """
        self.kind, self.parameters, self.seed, self.compare = kind, parameters, seed, compare
        self.state = state
        self.detector: Path | None = None
        """The file of the mis-recommendation detector, where the policy needs one."""
        self.detector_bits = 0
        """What a device keeps of it."""
        self._digest = ""
        self._first = streams.session_offsets[:-1]
        self._since = np.zeros(streams.num_sessions, dtype=np.int64) if since is None else since
        self._switches = sessions_since_switch(streams)

    def config(self, device_session: DeviceSession) -> PolicyConfig:
        """The policy config of one device-session. Only an oracle's has the change points."""
        parameter = "" if self.kind.default is None else f":{self.parameters[device_session.device]!r}"
        return PolicyConfig(
            name=f"{self.kind.name}{parameter}",
            state=self.state,
            draw=float(numpy_generator(self.seed, "policy", device_session.device, device_session.session).random()),
            switch=int(self._switches[self._first[device_session.device] + device_session.session])
            if self.kind.name == "oracle"
            else -1,
            detector=self._digest,
            compare=self.compare,
            since=int(self._since[self._first[device_session.device] + device_session.session]),
        )

    def install(self, detector: Path) -> None:
        """Give the devices this mis-recommendation detector."""
        self.detector, self._digest = detector, file_digest(detector)
        self.detector_bits = load_detector(detector).bits

    def files(self) -> dict[str, Path]:
        """What devices need to decide, by digest."""
        return {} if self.detector is None else {self._digest: self.detector}


def detector_file(run: RunFolder, label: str) -> Path:
    """Where the run keeps the mis-recommendation detector of a seed and method, ``SEED-METHOD``."""
    return run.models / f"mrd-{label}.safetensors"


def prepare_policy(
    config: Config,
    run: RunFolder,
    interactions: Interactions,
    streams: Streams,
    method: type[SessionStrategy],
    model: Path,
    seed: int,
    say: Callable[[str], None] = log.warning,
    since: np.ndarray | None = None,
) -> PolicySetup | None:
    """Prepare the request policies of a method; None where devices never adapt, or always do, remember nothing, and
    nothing is compared.

    Where the cloud trains again, ``model`` is the first version, and ``since`` says with which session of its device
    the version of each session begins; thresholds and detectors are those of the first version.
    What has to be trained or calibrated is kept in the run folder, so that a run that goes on goes on with the same.
    """
    kind, parameter = parse(config.policy)
    if not method.adapts or (kind.name == "always" and not config.compare_stale and not method.remembers):
        return None
    label = f"{seed}-{method.name}"
    policy_setup = PolicySetup(kind, [], f"{label}-{run.identity}", streams, seed, config.compare_stale, since)
    calibrates = config.request_rate is not None and kind.rising is not None
    if "doubt" in kind.needs or calibrates:
        whose = {"seed": str(seed), "method": method.name, "model": str(read_header(model)[1].get("key", ""))}
        backtest = Backtest(
            load_device(model),
            load_mapper(model, config.resolved_delivery) if issubclass(method, AdaptiveStrategy) else None,
            interactions,
            streams,
            session_length=config.session_length,
            session_gap=config.session_gap,
            context=config.resolved_context,
            history_length=config.resolved_memory,
        )
        if "doubt" in kind.needs:
            policy_setup.install(_detector(detector_file(run, label), backtest, seed, whose, say))
    if calibrates:
        assert config.request_rate is not None
        note = run.path / "policies" / f"{label}.json"
        wanted = whose | {"policy": kind.name, "rate": repr(config.request_rate), "scope": config.request_scope}
        found = _found_note(note, wanted, say)
        if found is None:
            trials = _trials(backtest, kind, policy_setup.detector)
            found = thresholds(kind, config.request_rate, trials, config.request_scope, streams.num_devices)
            rates = [request_rate(kind(found[device]), [trial]) * trial.chances for device, trial in trials.items()]
            chances = max(sum(trial.chances for trial in trials.values()), 1)
            values = {**wanted, "backtest_rate": sum(rates) / chances, "parameters": found}
            atomic.write(note, sealed.sealed_json(values))
        policy_setup.parameters = found
    else:
        by_rate = None if config.request_rate is None else kind.for_rate(config.request_rate)
        chosen = next((p for p in (by_rate, parameter, kind.default) if p is not None), 0.0)
        policy_setup.parameters = [chosen] * streams.num_devices
    return policy_setup


def _found_note(path: Path, wanted: dict[str, str], say: Callable[[str], None]) -> list[float] | None:
    """The thresholds that an earlier start has written; None if there are none, or if their file is damaged."""
    if not path.exists():
        return None
    try:
        values = sealed.read_json(path, "")
        sealed.expect(path, values, wanted, "")
    except Damaged as error:
        say(f"{reason(error)}; the thresholds are calibrated again")
        return None
    return cast(list[float], values["parameters"])


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


def _trials(backtest: Backtest, kind: type[Policy], detector: Path | None) -> dict[int, Trial]:
    """The trial sessions by device; what the policy does not read is not computed."""
    doubting = None if detector is None else load_detector(detector)
    seen: dict[bytes, float] = {}

    def doubt(stale: np.ndarray, fresh: np.ndarray) -> float:
        assert doubting is not None
        key = stale.tobytes() + fresh.tobytes()
        if key not in seen:
            seen[key] = float(doubting.doubt(torch.from_numpy(stale[None]), torch.from_numpy(fresh[None])))
        return seen[key]

    offsets = backtest.streams.session_offsets
    out = {}
    for index, device in enumerate(backtest.devices.tolist()):
        rows = slice(int(offsets[index]), int(offsets[index + 1]))
        losses = backtest.first_losses[rows] if "losses" in kind.needs else []
        out[device] = Trial(backtest.interests[rows], losses, doubt)
    return out


def _detector(path: Path, backtest: Backtest, seed: int, whose: dict[str, str], say: Callable[[str], None]) -> Path:
    there = path.exists()
    if there:
        try:
            load_detector(path, **whose)
        except Damaged as error:
            say(f"{reason(error)}; it is trained again")
            there = False
    if not there:
        samples = backtest.samples(seed)
        if len(samples.right) == 0:
            raise UserError("--policy mrd: no device has a history of two trial sessions to train a detector on")
        save_detector(path, train_detector(samples, backtest.installed.part.backbone.items, seed), **whose)
    return path
