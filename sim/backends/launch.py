"""Run a ServerApp and a ClientApp on one of three backends; the same two apps run unmodified on all of them.

inprocess    every device in this process (`sim.backends.inprocess`)
ray          Flower's Simulation Engine: a pool of Ray actors on this machine, or on the cluster $RAY_ADDRESS names
             (`sim.backends.ray`)
deployment   a real SuperLink and SuperNodes: processes on this machine, or a federation that is there already
             (`sim.backends.deployment`)
"""

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from clients.folders import DEVICE_DIR
from core.errors import UserError
from sim.backends import deployment, ray
from sim.backends.inprocess import ConfigValue, InProcessGrid, silence_telemetry
from sim.backends.run_log import FirstTracebackOnly
from sim.config import choices

__all__ = ["load_client_app", "load_server_app", "run_apps"]

CHATTY = ("flwr", "ray", "torch", "matplotlib", "py.warnings", "sim.backends", "strategies", "clients")
"""Loggers whose messages belong into the run's log."""


def run_apps(
    backend: str,
    server_app: ServerApp | str,
    client_app: ClientApp | str,
    *,
    num_nodes: int,
    run_config: Mapping[str, ConfigValue],
    seed: int,
    log_file: Path,
    device_dir: Path | None = None,
) -> None:
    """Run the apps to the end.

    ``server_app`` and ``client_app`` are the apps or where to import them from ("sim.server:app"); ``deployment`` needs
    the latter. Both sides find ``run_config`` in ``context.run_config``; files in it must be absolute paths. There are
    ``num_nodes`` of Flower's nodes, and what those on this machine keep goes into ``device_dir``; without one it goes
    where the device says (:mod:`clients.depot`). Flower's and Ray's own messages go to ``log_file`` (appended, in an
    existing folder), the apps' output to the terminal, except that under ``deployment`` everything goes to the file.

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
            own = {} if device_dir is None else {DEVICE_DIR: str(device_dir)}
            app = load_client_app(client_app)
            grid = InProcessGrid(app, num_nodes, run_config=run_config, seed=seed, node_config=own)
            context = Context(grid.run.run_id, 0, {}, RecordDict(), dict(run_config))
            load_server_app(server_app)(grid, context)
        elif backend == "ray":
            ray.run(
                load_server_app(server_app),
                load_client_app(client_app),
                num_nodes=num_nodes,
                run_config=run_config,
                device_dir=device_dir,
            )
        elif backend == "deployment":
            if not isinstance(server_app, str) or not isinstance(client_app, str):
                raise TypeError("the deployment backend imports its apps in other processes: name them by strings")
            deployment.run(
                server_app,
                client_app,
                num_nodes=num_nodes,
                run_config=run_config,
                log_file=log_file,
                device_dir=device_dir,
            )
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


class _LogFile(logging.FileHandler):
    """A log that ends no run: what cannot be written, because the disk is full, is lost."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def _chatter_in(log_file: Path) -> Iterator[None]:
    """Send what Flower, Ray, torch and the grid log inside the block, and Python's warnings, to a file instead of the
    terminal."""
    handler = _LogFile(log_file, encoding="utf-8", delay=True)
    handler.addFilter(FirstTracebackOnly())
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
        with suppress(OSError):
            handler.close()
