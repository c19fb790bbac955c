"""Run a ServerApp and a ClientApp on one of three backends; the same two apps run unmodified on all of them.

inprocess    every device in this process (`sim.backends.inprocess`)
ray          Flower's Simulation Engine: a pool of Ray actors on this machine, or on the cluster $RAY_ADDRESS names
deployment   a real SuperLink and one SuperNode per device, as processes on this machine (`sim.backends.deployment`)
"""

import ctypes
import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from core.errors import UserError
from core.interrupts import terminated_like_interrupted
from sim.backends import deployment
from sim.backends.inprocess import ConfigValue, InProcessGrid, silence_telemetry
from sim.config import choices

__all__ = ["load_client_app", "load_server_app", "run_apps"]

CHATTY = ("flwr", "ray", "torch", "matplotlib", "py.warnings", "sim.backends.inprocess", "strategies", "clients")
"""Loggers whose messages belong into the run's log."""
_PATIENCE = 30.0
"""Seconds to wait for a part of the run that was told to stop."""


def run_apps(
    backend: str,
    server_app: ServerApp | str,
    client_app: ClientApp | str,
    *,
    num_devices: int,
    run_config: Mapping[str, ConfigValue],
    seed: int,
    log_file: Path,
) -> None:
    """Run the apps to the end.

    ``server_app`` and ``client_app`` are the apps or where to import them from ("sim.server:app");
    ``deployment`` needs the latter. Both sides find ``run_config`` in ``context.run_config``; files in it
    must be absolute paths. Flower's and Ray's own messages go to ``log_file`` (appended, in an existing
    folder), the apps' output to the terminal, except that under ``deployment`` everything goes to the file.

    Raises what the ServerApp raised; from ``deployment`` only its message comes back, as UserError if it was
    one, else as RuntimeError. KeyboardInterrupt ends the run, and everything that was started, before it is
    passed on.
    """
    for key, value in run_config.items():
        if not isinstance(value, bool | int | float | str):
            raise TypeError(f"run_config[{key!r}] must be a bool, int, float or str, not {type(value).__name__}")
    silence_telemetry()
    with _chatter_in(log_file):
        if backend == "inprocess":
            grid = InProcessGrid(load_client_app(client_app), num_devices, run_config=run_config, seed=seed)
            context = Context(grid.run.run_id, 0, {}, RecordDict(), dict(run_config))
            load_server_app(server_app)(grid, context)
        elif backend == "ray":
            with terminated_like_interrupted():  # puts back the handler that Ray replaces
                _run_on_ray(load_server_app(server_app), load_client_app(client_app), num_devices, run_config)
        elif backend == "deployment":
            if not isinstance(server_app, str) or not isinstance(client_app, str):
                raise TypeError("the deployment backend imports its apps in other processes: name them by strings")
            deployment.run(server_app, client_app, num_devices=num_devices, run_config=run_config, log_file=log_file)
        else:
            raise UserError(f"unknown backend '{backend}': choose one of {', '.join(choices('backend'))}")


def load_server_app(app: ServerApp | str) -> ServerApp:
    """The app itself, imported if it is given as "module:attribute"."""
    loaded = _load(app) if isinstance(app, str) else app
    if not isinstance(loaded, ServerApp):
        raise TypeError(f"{app} is not a ServerApp")
    return loaded


def load_client_app(app: ClientApp | str) -> ClientApp:
    """The app itself, imported if it is given as "module:attribute"."""
    loaded = _load(app) if isinstance(app, str) else app
    if not isinstance(loaded, ClientApp):
        raise TypeError(f"{app} is not a ClientApp")
    return loaded


def _load(reference: str) -> object:
    module, _, attribute = reference.partition(":")
    loaded: object = getattr(importlib.import_module(module), attribute)
    return loaded


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
        self.error: BaseException | None = None

    def __call__(self, grid: Grid, context: Context) -> None:
        self._thread = threading.current_thread()
        context.run_config = dict(self._run_config)
        try:
            if not self._stopped:
                self._app(grid, context)
                self.finished = True
        except BaseException as error:  # raised again by `_run_on_ray`, in the caller's thread
            if not self._stopped:
                self.error = error

    def stop(self) -> None:
        """Raise KeyboardInterrupt in the ServerApp if it is still running, and wait for it to end."""
        self._stopped = True
        if self._thread is not None and self._thread.is_alive() and not self.finished:
            # It sleeps and polls in Python, where an exception set from outside arrives within a poll.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
            )
            self._thread.join(_PATIENCE)


def _run_on_ray(
    server_app: ServerApp, client_app: ClientApp, num_devices: int, run_config: Mapping[str, ConfigValue]
) -> None:
    _start_ray(num_devices)
    watched = _WatchedServerApp(server_app, run_config)
    failures: list[BaseException] = []

    def simulate() -> None:
        try:
            run_simulation(
                watched,
                _ConfiguredClientApp(client_app, run_config),
                num_supernodes=num_devices,
                backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
            )
        except BaseException as error:
            failures.append(error)

    # An interrupt inside `run_simulation` shuts Ray down under messages that are still being computed, and their
    # threads then wait for ever. So it runs in a thread that signals do not reach, and an interrupt here ends the
    # ServerApp, after which Flower winds down, Ray included, as after any other run.
    simulation = threading.Thread(target=simulate, name="simulation", daemon=True)
    with terminated_like_interrupted():  # Ray answers SIGTERM by killing its processes and then aborting this one
        simulation.start()
        try:
            simulation.join()
        finally:
            watched.stop()
            simulation.join(_PATIENCE)
    if watched.error is not None:
        raise watched.error
    if failures:
        raise failures[0]
    if not watched.finished:
        raise RuntimeError("Flower's Simulation Engine ended without running the ServerApp")


def _start_ray(num_devices: int) -> None:
    """Start Ray, or join the cluster of $RAY_ADDRESS, as Flower would, but quietly and with one thread per
    actor."""
    try:
        import ray
    except ImportError:
        raise UserError("the backend 'ray' needs Ray: pip install 'flwr[simulation]'") from None
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # The size of an existing cluster is not ours to choose.
    size = None if "RAY_ADDRESS" in os.environ else min(num_devices, os.cpu_count() or 1)
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tip: In future versions of Ray", FutureWarning)
        ray.init(
            num_cpus=size,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}},
        )


@contextmanager
def _chatter_in(log_file: Path) -> Iterator[None]:
    """Send what Flower, Ray, torch and the grid log inside the block, and Python's warnings, to a file instead of the
    terminal."""
    handler = logging.FileHandler(log_file, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in CHATTY]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()
