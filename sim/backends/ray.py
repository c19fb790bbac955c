"""Backend `ray`: Flower's Simulation Engine, a pool of Ray actors on this machine or on a cluster."""

import ctypes
import gc
import logging
import os
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from clients.folders import FOLDER_VARIABLE
from core.errors import UserError
from core.interrupts import terminated_like_interrupted
from sim.backends.inprocess import ConfigValue
from sim.backends.processes import import_path

log = logging.getLogger(__name__)

_PATIENCE = 600.0
"""Seconds to wait for a part of the run that was told to stop, on a machine with other work."""
_WIND_DOWN = 60.0
"""Seconds that Flower has to end by itself once the ServerApp has; then its actors are killed."""
_ANSWER = 300.0
"""Seconds that each machine of a cluster has to answer; Ray needs some tens of them to notice that one is gone."""
_POLL = 1.0
"""Seconds between two looks at a cluster."""
_STARTS = 5
"""Times that Ray is started: beside other work a node may need more than the 30 seconds that Ray waits for it."""


class _ConfiguredClientApp(ClientApp):
    """Gives every device the run's configuration, which `run_simulation` does not hand on."""

    def __init__(self, app: ClientApp, run_config: Mapping[str, ConfigValue]) -> None:
        super().__init__()
        self._app = app
        self._run_config = dict(run_config)

    def __call__(self, message: Message, context: Context) -> Message:
        before, context.run_config = context.run_config, dict(self._run_config)
        try:
            return self._app(message, context)
        finally:
            context.run_config = before  # Flower refuses a context that comes back with another one


class _WatchedServerApp(ServerApp):
    """Runs the ServerApp with the run's configuration, remembers how it ended, and can be told to stop.

    Flower runs it in a thread of its own, which outlives a crash of the runtime and would keep the process
    alive.
    """

    def __init__(self, app: ServerApp, run_config: Mapping[str, ConfigValue]) -> None:
        super().__init__()
        self._app = app
        self._run_config = dict(run_config)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.finished = False
        self.over = threading.Event()
        """Set when the ServerApp has ended, however it did."""
        self.error: BaseException | None = None

    def __call__(self, grid: Grid, context: Context) -> None:
        self._thread = threading.current_thread()
        context.run_config = dict(self._run_config)
        try:
            if not self._stopped:
                self._app(grid, context)
                self.finished = True
        except BaseException as error:  # raised again by `run`, in the caller's thread
            if not self._stopped:
                self.error = error
        finally:
            self.over.set()

    def stop(self) -> None:
        """Raise KeyboardInterrupt in the ServerApp if it is still running, and wait for it to end."""
        self._stopped = True
        if self._thread is not None and self._thread.is_alive() and not self.over.is_set():
            # It sleeps and polls in Python, where an exception set from outside arrives within a poll.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
            )
            self._thread.join(_PATIENCE)


def run(
    server_app: ServerApp,
    client_app: ClientApp,
    *,
    num_nodes: int,
    run_config: Mapping[str, ConfigValue],
    device_dir: Path | None = None,
) -> None:
    """Run the apps in Flower's Simulation Engine, and stop it and Ray.

    What is installed on devices goes into ``device_dir`` if all of them run on this machine; on a cluster each machine
    has its own place for it (:mod:`clients.depot`).

    Raises what the ServerApp raised, or else what the engine did; KeyboardInterrupt after everything has been stopped.
    """
    with terminated_like_interrupted():  # puts back the handler that Ray replaces
        _start_ray(num_nodes, device_dir)
        try:
            _simulate(server_app, client_app, num_nodes, run_config)
        finally:
            _stop_ray()


def _simulate(
    server_app: ServerApp, client_app: ClientApp, num_nodes: int, run_config: Mapping[str, ConfigValue]
) -> None:
    watched = _WatchedServerApp(server_app, run_config)
    failures: list[BaseException] = []
    ended = (
        threading.Event()
    )  # Thread.join, once interrupted, takes a running thread for one that has ended (3.11, 3.12)

    def simulate() -> None:
        try:
            run_simulation(
                watched,
                _ConfiguredClientApp(client_app, run_config),
                num_supernodes=num_nodes,
                backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
            )
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()
            watched.over.set()

    # An interrupt inside `run_simulation` shuts Ray down under messages that are still being computed, and their
    # threads then wait for ever. So it runs in a thread that signals do not reach, and an interrupt here ends the
    # ServerApp, after which Flower winds down, Ray included, as after any other run.
    simulation = threading.Thread(target=simulate, daemon=True)
    with terminated_like_interrupted():  # Ray answers SIGTERM by killing its processes and then aborting this one
        simulation.start()
        try:
            watched.over.wait()
        except BaseException:
            watched.stop()
            raise
        finally:
            if not ended.wait(_WIND_DOWN):
                _kill_actors()
                ended.wait(_PATIENCE)
    if watched.error is not None:
        raise watched.error
    if failures:
        raise failures[0]
    if not watched.finished:
        raise RuntimeError("Flower's Simulation Engine ended without running the ServerApp")


def _stop_ray() -> None:
    """Flower has done it, unless it failed on its way there: the next run of this process could not start Ray then."""
    import ray

    if ray.is_initialized():
        ray.shutdown()


def _kill_actors() -> None:
    """Kill the actors of this process.

    Flower waits for the answer of each without a limit. One that has no machine gives none: its machine died before it
    was there, or another program has the processors.
    """
    import ray

    for found in gc.get_objects():  # Flower keeps them where nobody else can ask for them
        if issubclass(type(found), ray.actor.ActorHandle):  # `isinstance` asks objects that import modules for it
            with suppress(Exception):  # Flower is ending Ray meanwhile
                ray.kill(found)


def _wait_for_machines() -> None:
    """Return when every machine of the cluster has run something, or Ray has noticed that it is gone.

    Flower makes an actor for each processor of the machines that Ray knows. Ray takes some tens of seconds to notice
    that one has died, and in these an actor for it would be waited for until the run's time is up.

    Raises UserError if a machine does neither.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nothing = ray.remote(num_cpus=0, max_retries=0)(lambda: None)  # a machine imports none of our code for it
    asked: dict[ray.ObjectRef, str] = {}
    answered: set[str] = set()
    deadline, why = time.monotonic() + _ANSWER, ""
    while True:
        machines = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        left = machines.keys() - answered
        if not left:
            return
        if time.monotonic() > deadline:
            names = ", ".join(sorted(machines[node] for node in left))
            raise UserError(
                f"of the Ray cluster {os.environ['RAY_ADDRESS']} the machine {names} has not answered within "
                f"{_ANSWER:g} s{why}: stop Ray there, or mend it, and the same command continues"
            )
        for node in left - set(asked.values()):
            where = NodeAffinitySchedulingStrategy(node, soft=False)
            asked[nothing.options(scheduling_strategy=where).remote()] = node
        for answer in ray.wait(list(asked), timeout=_POLL)[0]:
            node = asked.pop(answer)
            try:
                ray.get(answer)
                answered.add(node)
            except ray.exceptions.RayError as error:  # it has just died, or cannot start a process
                why = f" ({' '.join(str(error).split())[:200]})"
                time.sleep(_POLL)


def _start_ray(num_nodes: int, device_dir: Path | None) -> None:
    """Start Ray, or join the cluster of $RAY_ADDRESS, as Flower would, but quietly and with one thread per
    actor."""
    try:
        import ray
    except ImportError:
        raise UserError("the backend 'ray' needs Ray: pip install 'flwr[simulation]'") from None
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray gives its workers the least right to a processor: beside other work an actor would take minutes to begin.
    os.environ.setdefault("RAY_worker_niceness", "0")
    variables = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": "1"}
    size = None  # that of an existing cluster is not ours to choose
    if "RAY_ADDRESS" not in os.environ:
        size = min(num_nodes, os.cpu_count() or 1)
        variables |= {} if device_dir is None else {FOLDER_VARIABLE: str(device_dir)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tip: In future versions of Ray", FutureWarning)
        for start in range(1, _STARTS + 1):
            try:
                ray.init(
                    num_cpus=size,
                    include_dashboard=False,
                    configure_logging=False,
                    log_to_driver=False,
                    runtime_env={"env_vars": variables},
                )
                break
            except Exception as error:
                if "timed out during startup" not in str(error) or start == _STARTS:
                    raise
                log.warning("Ray has not started (%s); it is started again", error)
                ray.shutdown()
    if size is None:
        _wait_for_machines()
