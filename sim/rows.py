"""From the result of a device-session to its row in ``sessions.parquet``."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clients.fields import QUALITY_FIELDS
from clients.measurements import path_bits
from core import schema
from models.backbones.base import DIM
from models.candidates import Candidates
from sim.world.costs import Counts, cost, waits
from sim.world.fleet import Fleet
from sim.world.streams import session_phase
from strategies.wave import SessionResult


class RowMaker:
    """Turns the results of a round into rows: counts from the messages, costs from the profiles."""

    def __init__(self, fleet: Fleet, candidates: Candidates, retrains: bool = False) -> None:
        """``retrains``: the rows say which version of the model was run."""
        self.fleet, self.retrains = fleet, retrains
        self.repeats = fleet.streams.session_repeats * (candidates == "unseen")
        self.phases = session_phase(fleet.streams)
        self.whole_rounds = fleet.scenario.cloud.requests_per_second is not None
        """Whether a row depends on the others of its round, which meet it in the cloud's queue."""

    def __call__(self, played: list[SessionResult], method: str, seed: int, more: Sequence[str] = ()) -> pd.DataFrame:
        """One row for each device-session of a round, or of a part of one unless :attr:`whole_rounds`.

        Where measurements are missing it is not served and has no hits.

        ``more`` names measurements that only some runs have: the quality with the stale and with the fresh network, or
        among sampled candidates.
        """
        waiting = self._waiting(played)
        rows = [self._row(one, method, seed, wait, more) for one, wait in zip(played, waiting, strict=True)]
        columns = [column for column in schema.SESSIONS if not column.optional or column.name in rows[0]]
        return pd.DataFrame(rows)[schema.names(columns)].astype(schema.dtypes(columns))

    def _waiting(self, played: list[SessionResult]) -> list[float | None]:
        """Seconds in the cloud's queue; None for a device-session that the cloud made nothing for."""
        rate = self.fleet.scenario.cloud.requests_per_second
        asked = [one for one in played if one.bits_down > 0 and one.bits_up > 0]
        if rate is None:
            return [None] * len(played)
        arrivals = [self.fleet.arrival(o.device_session, o.macs_device, o.bits_up) for o in asked]
        found = dict(zip([o.device_session for o in asked], waits(np.array(arrivals), 1 / rate).tolist(), strict=True))
        return [found.get(one.device_session) for one in played]

    def _row(
        self, result: SessionResult, method: str, seed: int, wait: float | None, more: Sequence[str]
    ) -> dict[str, object]:
        device_session = result.device_session
        index = self.fleet.index(device_session)
        events = int(self.fleet.events[index])
        measured = result.measured or dict.fromkeys(
            (*_QUALITY, "served", "macs", "macs_paper", "macs_adapt", "param_bits", "path"), 0
        )
        tier = self.fleet.tier(device_session)
        counts = Counts(
            events=events,
            macs=int(measured["macs"]),
            macs_request=result.macs_device + int(measured.get("macs_decide", 0)),
            macs_adapt=int(measured["macs_adapt"]),
            macs_cloud=result.macs_cloud,
            bits_up=result.bits_up,
            bits_down=result.bits_down,
        )
        rate = self.fleet.scenario.cloud.requests_per_second
        queue = 0.0 if wait is None or rate is None else wait + 1 / rate
        spent = cost(counts, tier, self.fleet.scenario, self.fleet.factor(device_session), queue)
        return {
            "seed": seed,
            "device": device_session.device,
            "method": method,
            "session": device_session.session,
            "events": events - int(self.repeats[index]),
            "repeats": int(self.repeats[index]),
            **{name: kind(measured[name]) for name, kind in _QUALITY.items()},
            "requested": result.requested,
            "path": int(measured["path"]),
            "blocks": int(measured["path"]).bit_count(),
            "macs": counts.macs,
            "macs_paper": int(measured["macs_paper"]),
            "macs_session": counts.macs_device,
            "param_bits": int(measured["param_bits"]),
            "bits_down": counts.bits_down,
            "bits_up": counts.bits_up,
            "seconds_adapt": spent.seconds_adapt,
            "seconds_wait": wait or 0.0,
            "seconds_inference": spent.seconds_inference,
            "joules": spent.joules,
            "budget_macs": self.fleet.budget(device_session).macs,
            "served": bool(measured["served"]),
            "status": result.status,
            "tier": tier.name,
            "phase": str(self.phases[index]),
            "adapted": result.bits_down > 0 or counts.macs_adapt > 0,
            "user": int(self.fleet.streams.users[device_session.device]),
            **{name: float(measured.get(name, 0.0)) for name in more},
            **({"version": device_session.version} if self.retrains else {}),
            "bits_installed": result.bits_installed,
        }


def upload_rows(played: list[SessionResult], method: str, seed: int) -> pd.DataFrame:
    """One row of ``uploads.parquet`` for each request that arrived; see :data:`core.schema.UPLOADS`."""
    asked = [(one.device_session, one.request) for one in played if one.request is not None]
    facts = [
        (seed, device.device, method, device.session, device.past, int(path_bits(request.path[None])[0]))
        for device, request in asked
    ]
    frame = pd.DataFrame(facts, columns=schema.names(schema.UPLOADS[: -len(schema.LATENT)]))
    latents = np.full((len(asked), DIM), np.nan, dtype=np.float32)
    for row, (_, request) in enumerate(asked):
        latents[row, : len(request.latent)] = request.latent
    frame[list(schema.LATENT)] = latents
    return frame.astype(schema.dtypes(schema.UPLOADS))


_QUALITY = {field.name: field.kind for field in QUALITY_FIELDS}
