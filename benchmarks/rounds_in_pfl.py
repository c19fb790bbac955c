"""The same device-sessions in Apple's pfl (pfl-research): rounds of federated evaluation, one user after the other.

A round asks a cohort of users what the global model does on their own data, and sums what they measured: this is what a
round of DeviceRec is. The backbone and its weights are ours, the data set of a user is cut when the user is sampled,
and everything in between is pfl's simulated backend, in one process with this process's threads.
"""

import multiprocessing
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.candidates import Candidates
from models.checkpoint import Installed
from models.metrics import hits, ndcg, ranks
from sim.world.streams import Streams
from strategies.wave import DeviceSession

PFL_MISSING = (
    "pfl is not installed, so nothing is compared with it: pip install -e '.[benchmark]' (benchmarks/README.md says "
    "what is compared)"
)


def evaluation(
    installed: Installed, streams: Streams, rounds: Sequence[Sequence[DeviceSession]], candidates: Candidates
) -> Callable[[], dict[str, float]]:
    """What plays all rounds with the network that is ``installed`` on every device; calling it does so once.

    It gives the sums over all predictions, by name: ``predictions``, ``hits`` and ``ndcg`` at cut-off 10. A
    device-session without any prediction is left out, and costs nothing: pfl refuses empty data. Raises ``ImportError``
    where pfl is not installed.
    """
    # pfl takes a process of any other name for one that loads data, and plays no rounds there.
    multiprocessing.current_process().name = "MainProcess"
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.common_types import Population
    from pfl.context import CentralContext
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.pytorch import PyTorchTensorDataset
    from pfl.data.sampling import MinimizeReuseUserSampler
    from pfl.metrics import Summed
    from pfl.model.pytorch import PyTorchModel

    class Recommender(nn.Module):
        """The network as pfl asks for it: what it measures on one batch of one user."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = installed.part.backbone

        def loss(self, *batch: Tensor) -> Tensor:
            """Refuse to train: pfl wants a loss of every model, also of one that it only evaluates."""
            raise TypeError("this benchmark trains nothing")

        def metrics(self, *batch: Tensor) -> dict[str, Summed]:
            return {name: Summed(value) for name, value in measure(installed, *batch).items()}

    def user(which: tuple[int, int]) -> PyTorchTensorDataset:
        past, now = streams.of_session(*which)
        part = installed.part.backbone
        return PyTorchTensorDataset(cut(past, now, part.context, part.num_items, candidates))

    cohorts = [[(one.device, one.session) for one in sessions if one.events] for sessions in rounds]
    users = [which for cohort in cohorts for which in cohort]
    data = FederatedDataset(user, MinimizeReuseUserSampler(users))
    backend = SimulatedBackend(training_data=data, val_data=data)
    network = Recommender()
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=0.0))
    parameters = NNAlgorithmParams(
        central_num_iterations=len(cohorts), evaluation_frequency=1, train_cohort_size=0, val_cohort_size=None
    )

    def play() -> dict[str, float]:
        sums = dict.fromkeys(("predictions", "hits", "ndcg"), 0.0)
        for number, cohort in enumerate(cohorts):
            context = CentralContext(
                current_central_iteration=number,
                do_evaluation=True,
                cohort_size=len(cohort),
                population=Population.VAL,
                algorithm_params=parameters,
                model_train_params=None,
                seed=0,
            )
            _, found = backend.gather_results(model, FederatedAveraging(), central_context=context)
            for name, value in found:
                described = getattr(name, "description", "")
                if described in sums:
                    sums[described] += value.overall_value
        return sums

    return play


def cut(
    past: np.ndarray, now: np.ndarray, context: int, num_items: int, candidates: Candidates
) -> tuple[Tensor, Tensor, Tensor]:
    """The predictions of one device-session: windows ``(R, n)``, items ``(R,)``, no candidates ``(R, num_items)`` bool.

    ``past`` ``(P,)`` and ``now`` ``(E,)`` are the items before the session and in it; an item that is no candidate is
    no prediction.
    """
    known = np.concatenate([np.zeros(context, dtype=np.int64), past[-context:], now]).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(known, context)[-len(now) - 1 : -1]
    seen = np.zeros((len(now), num_items), dtype=bool)
    if candidates == "unseen":
        seen[:, past - 1] = True
        for event, item in enumerate(now[:-1], start=1):
            seen[event:, item - 1] = True
    real = ~seen[np.arange(len(now)), now - 1]
    wanted = now[real].astype(np.int64)
    return torch.from_numpy(windows[real]), torch.from_numpy(wanted), torch.from_numpy(seen[real])


@torch.inference_mode()
def measure(installed: Installed, windows: Tensor, wanted: Tensor, excluded: Tensor) -> dict[str, float]:
    """What one user measures of its predictions, as :func:`cut` gives them."""
    backbone, network = installed.part.backbone, installed.network
    assert network is not None
    states = backbone.encode(windows.unsqueeze(0), lambda k, rows: network[k])[0, :, -1]
    rank = ranks(backbone.score(states).masked_fill_(excluded, -torch.inf), wanted)
    return {"predictions": len(rank), "hits": float(hits(rank).sum()), "ndcg": float(ndcg(rank).sum())}
