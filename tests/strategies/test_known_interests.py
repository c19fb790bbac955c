"""What the cloud expects of a latent interest that it was not sent, or not as it was."""

import numpy as np
import pytest

from clients.upload import UploadForm
from strategies.known_interests import FAITH, KnownInterests
from strategies.training.data import TrainingSet
from tests.support.seam import mapper_by_hand

ITEMS = 20


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    rng = np.random.default_rng(0)
    items = rng.integers(1, ITEMS + 1, 60 * 30).astype(np.int32)
    return TrainingSet(np.arange(0, 60 * 30 + 1, 30), items, np.ones(60, dtype=np.int64), ITEMS)


def known(data: TrainingSet, form: UploadForm) -> KnownInterests:
    return KnownInterests(mapper_by_hand(ITEMS, 3, 5).device_part, data, 8, form)


def test_the_mean_of_a_path_by_hand(data: TrainingSet) -> None:
    one = known(data, UploadForm(latent=False))
    one.paths = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 1]], dtype=bool)
    one.latents = np.stack([np.full(64, 1.0), np.full(64, 4.0), np.full(64, 100.0)]).astype(np.float32)
    one._means.clear()
    one._on_path = lambda path: np.full((5, 64), 0.5, dtype=np.float32)  # type: ignore[method-assign]
    expected = (1.0 + 4.0 + FAITH * 0.5) / (2 + FAITH)
    path = np.array([True, False, False])
    assert one.mean(path)[0] == pytest.approx(expected, rel=1e-6)
    assert one.estimate(path[None], np.zeros((1, 0), dtype=np.float32))[0, 3] == pytest.approx(expected, rel=1e-6)


def test_noise_is_filtered_number_by_number_where_numbers_are_independent(data: TrainingSet) -> None:
    one = known(data, UploadForm(clip=2.0, noise=0.5))  # variance 1
    one.covariance = np.diag(np.r_[3.0, np.zeros(63)])
    path = np.ones(3, dtype=bool)
    one._means[np.packbits(path).tobytes()] = np.full(64, 0.5, dtype=np.float32)
    found = one.estimate(path[None], np.full((1, 64), 4.5, dtype=np.float32))[0]
    assert found[0] == pytest.approx(0.5 + 4.0 * 3 / (3 + 1))
    assert found[1:].tolist() == [0.5] * 63


def test_less_noise_is_trusted_more(data: TrainingSet) -> None:
    faint, loud = (known(data, UploadForm(clip=4.0, noise=noise)) for noise in (1e-6, 100.0))
    rows = slice(0, 10)
    sent, paths = faint.latents[rows], faint.paths[rows]
    means = np.stack([faint.mean(path) for path in paths])
    close = np.abs(faint.estimate(paths, sent) - sent).max()
    assert close <= np.abs(means - sent).max() + 1e-6
    np.testing.assert_allclose(loud.estimate(paths, sent), np.stack([loud.mean(p) for p in paths]), atol=1e-2)
