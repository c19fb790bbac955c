"""Requests that the cloud makes itself, to train an attacker on: histories cut as if their last part were live.

Shokri et al., Membership Inference Attacks against Machine Learning Models, S&P 2017, call such data shadow data. The
cloud has everything that it takes: histories with their times, the extractors, the form in which devices send.
"""

from dataclasses import replace

import numpy as np

from clients import inference
from clients.local_data import recent
from clients.upload import UploadForm
from core.seeds import numpy_generator
from models.device_part import DevicePart
from models.references import Reference
from replay.privacy.knowledge import Knowledge, Observed, codes, counts, log_prior
from strategies.training.data import TrainingSet

START = 0.7
"""Share of a history that counts as known; what follows is played as a live stream."""
USERS = 2000
"""Training users, drawn at random, whose histories are cut."""
BATCH = 512


def first_counts(knowledge: Knowledge) -> Reference:
    """Co-occurrences in the first parts of the histories alone: as those of the run, they know no live stream."""
    return counts(_first_parts(knowledge.training, START), knowledge.config)


def shadow(knowledge: Knowledge, part: DevicePart, reference: Reference, seed: int) -> Observed:
    """The training users as if they were devices; ``reference`` as :func:`first_counts` gives it."""
    training, config = knowledge.training, knowledge.config
    rng = numpy_generator(seed, "shadow requests")
    everybody = np.arange(len(training.offsets) - 1)
    users = np.sort(rng.permutation(everybody)[:USERS])
    known: list[np.ndarray] = []
    live: list[np.ndarray] = []
    following: list[int] = []
    owner: list[int] = []
    for user in users.tolist():
        rows = slice(int(training.offsets[user]), int(training.offsets[user + 1]))
        items, times = training.items[rows], training.times[rows]
        begin = int(len(items) * START)
        if not 1 < begin < len(items):
            continue
        for start in session_starts(times, begin, config.session_gap, config.session_length):
            owner.append(len(known))
            live.append(items[begin:start])
            again = config.resolved_candidates == "unseen" and items[start] in items[:start]
            following.append(0 if again else int(items[start]))
        known.append(items[:begin])
    pasts = [np.concatenate([known[k], now]) for k, now in zip(owner, live, strict=True)]
    return Observed(
        known=known,
        known_codes=extracted(part, known, config.resolved_memory),
        prior=log_prior(reference, known),
        owner=np.array(owner, dtype=np.int64),
        codes=extracted(part, pasts, config.resolved_memory, knowledge.form, rng),
        live=live,
        following=np.array(following, dtype=np.int64),
    )


def session_starts(times: np.ndarray, begin: int, gap: float, most: int) -> list[int]:
    """Where sessions begin from place ``begin`` on in interactions at ``times`` (seconds): after a pause of more than
    ``gap`` minutes, or after ``most`` interactions."""
    found = [begin]
    for place in range(begin + 1, len(times)):
        if times[place] - times[place - 1] > 60 * gap or place - found[-1] == most:
            found.append(place)
    return found


def extracted(
    part: DevicePart,
    pasts: list[np.ndarray],
    history_length: int,
    form: UploadForm | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """What devices with these pasts would send, ``(N, L + 64)`` float32, in the ``form`` of a run if there is one."""
    found = []
    for start in range(0, len(pasts), BATCH):
        asked = inference.request(part, *recent(pasts[start : start + BATCH], history_length))
        latents = asked.latent.numpy()
        if form is not None:
            latents = _sent(latents, form, rng)
        found.append(codes(asked.path.numpy(), latents))
    return np.concatenate(found)


def _sent(latents: np.ndarray, form: UploadForm, rng: np.random.Generator | None) -> np.ndarray:
    """Latent interests ``(N, 64)`` as the cloud would read them; NaN where they are not sent."""
    if not form.latent:
        return np.full_like(latents, np.nan)
    latents = form.clipped(latents)
    if form.noise and rng is not None:
        latents = (latents + form.deviation * rng.standard_normal(latents.shape)).astype(np.float32)
    return latents if form.bits == 32 else np.stack([form.as_read(one) for one in latents])


def recorded(knowledge: Knowledge, part: DevicePart, reference: Reference, method: str, seed: int) -> Observed:
    """The devices of the run, and what the cloud got of them with a method and a seed."""
    streams, config = knowledge.streams, knowledge.config
    mine = knowledge.uploads[(knowledge.uploads["method"] == method) & (knowledge.uploads["seed"] == seed)]
    mine = mine.sort_values(["device", "session"])
    known = [
        np.asarray(streams.items[start : start + count])
        for start, count in zip(streams.offsets[:-1].tolist(), streams.live_start.tolist(), strict=True)
    ]
    live, following = [], []
    for device, session, past in mine[["device", "session", "past"]].to_numpy().tolist():
        before, now = streams.of_session(device, session)
        live.append(np.asarray(before[len(known[device]) : past]))
        again = config.resolved_candidates == "unseen" and now[0] in before
        following.append(0 if again else int(now[0]))
    blocks = part.backbone.blocks
    paths = (mine["path"].to_numpy()[:, None] >> np.arange(blocks)) % 2 == 1
    latents = mine[[name for name in mine.columns if str(name).startswith("latent_")]].to_numpy(np.float32)
    return Observed(
        known=known,
        known_codes=extracted(part, known, config.resolved_memory),
        prior=log_prior(reference, known),
        owner=mine["device"].to_numpy(np.int64),
        codes=codes(paths, latents),
        live=live,
        following=np.array(following, dtype=np.int64),
    )


def _first_parts(training: TrainingSet, share: float) -> TrainingSet:
    """The first part of every history; the item after it is for validation."""
    lengths = np.diff(training.offsets)
    kept = np.maximum((lengths * share).astype(np.int64), np.minimum(lengths, 1))
    rows = np.concatenate(
        [np.arange(start, start + count) for start, count in zip(training.offsets[:-1], kept, strict=True)]
    ).astype(np.int64)
    after = np.minimum(training.offsets[:-1] + kept, training.offsets[1:] - 1).clip(min=0)
    offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return replace(
        training,
        offsets=offsets,
        items=training.items[rows],
        validation=training.items[after].astype(np.int64),
        times=training.times[rows],
    )
