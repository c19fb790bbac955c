"""What the Gaussian noise of a run's uploads is worth: epsilon of one session and of all sessions of a device.

Local differential privacy of the latent interest: nobody but the device has to be trusted, and epsilon bounds how well
any two histories of it that choose the same path can be told apart from what it sends (the path itself goes as it is).
Clipped interests differ by ``2 * clip`` at most, so one release has a noise multiplier of ``noise / 2``, and ``n``
releases are as one with ``noise / (2 sqrt(n))``, exactly, since they are all Gaussian. Epsilon comes from
``dp-accounting`` (the analytic Gaussian mechanism of Balle and Wang, ICML 2018).
"""

import math

from core.errors import UserError

DELTA = 1e-5
"""Of (epsilon, delta)."""


def epsilon(noise: float, releases: int, delta: float = DELTA) -> float:
    """Epsilon of ``releases`` latent interests with ``noise`` as of :class:`clients.upload.UploadForm`.

    Infinite without noise, 0 without a release. Raises :class:`UserError` where the accountant is not installed.
    """
    if releases == 0:
        return 0.0
    if not noise:
        return math.inf
    try:
        from dp_accounting import get_epsilon_gaussian
    except ImportError:
        raise UserError("epsilon needs dp-accounting: pip install -e '.[privacy]'") from None
    return float(get_epsilon_gaussian(noise / 2 / math.sqrt(releases), delta))
