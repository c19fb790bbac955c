"""What the cloud knows of latent interests before a device sends one, from the histories that it trains on.

Where devices send the path alone, a network is made from the mean interest of that path. Where they add noise, it is
made from the expected interest given what arrived: for interests of a path that are normal around their mean ``m`` with
covariance ``S`` (pooled over the paths) and noise of variance ``v``, that is ``m + S (S + v I)^-1 (y - m)`` (a Wiener
filter; Bishop, Pattern Recognition and Machine Learning, 2006, equation 2.116). It costs no privacy: it reads nothing
but what was sent.
"""

import numpy as np
import torch

from clients import inference
from clients.local_data import recent
from clients.upload import UploadForm
from models.device_part import DevicePart
from strategies.training.data import TrainingSet

PLACES = (0, 20)
"""Interactions before the end of a history at which its interest is read."""
FAITH = 10
"""Histories that choose a path, for the mean of theirs to count as much as that of all others on this path."""
BATCH = 1024


class KnownInterests:
    """Mean latent interest of every path, and how interests scatter around it."""

    def __init__(self, part: DevicePart, data: TrainingSet, history_length: int, form: UploadForm) -> None:
        """Read the interests of the histories with the extractors that are on the devices, clipped as devices clip."""
        self.part, self.form = part, form
        prefixes = [
            data.items[start : end - back]
            for start, end in zip(data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True)
            for back in PLACES
            if end - back > start
        ]
        self.history, self.lengths = recent(prefixes, history_length)
        asked = [
            inference.request(part, self.history[some], self.lengths[some])
            for some in torch.arange(len(prefixes)).split(BATCH)
        ]
        self.paths = np.concatenate([one.path.numpy() for one in asked])
        self.latents = form.clipped(np.concatenate([one.latent.numpy() for one in asked]))
        self._means: dict[bytes, np.ndarray] = {}
        scattered = self.latents - np.stack([self.mean(path) for path in self.paths])
        self.covariance = scattered.T.astype(np.float64) @ scattered / len(scattered)

    def mean(self, path: np.ndarray) -> np.ndarray:
        """The mean interest ``(64,)`` of those who choose this path ``(L,)``; of all, as if they did, if few do."""
        key = np.packbits(path).tobytes()
        if key not in self._means:
            mine = (self.paths == path).all(1)
            everybody = self.latents
            if self.part.controller is not None and not mine.all():
                everybody = self._on_path(path)
            total = self.latents[mine].sum(0) + FAITH * everybody.mean(0)
            self._means[key] = (total / (mine.sum() + FAITH)).astype(np.float32)
        return self._means[key]

    def estimate(self, paths: np.ndarray, sent: np.ndarray) -> np.ndarray:
        """The expected interests ``(N, 64)`` float32 of requests with ``paths`` ``(N, L)`` and what was ``sent`` of the
        latent interests, ``(N, 64)``, or ``(N, 0)`` where the path alone was."""
        means = np.stack([self.mean(path) for path in paths])
        if not self.form.latent:
            return means
        noisy = self.covariance + self.form.deviation**2 * np.eye(len(self.covariance))
        trust = np.linalg.solve(noisy, self.covariance)  # (S + v I)^-1 S, from the right
        return (means + (sent - means) @ trust).astype(np.float32)

    @torch.inference_mode()
    def _on_path(self, path: np.ndarray) -> np.ndarray:
        """The interests ``(N, 64)`` that the histories would have on a path ``(L,)``."""
        found = []
        for some in torch.arange(len(self.history)).split(BATCH):
            keep = torch.from_numpy(path).repeat(len(some), 1)
            found.append(self.part.latent_on_path(self.history[some], self.lengths[some], keep).numpy())
        return self.form.clipped(np.concatenate(found))
