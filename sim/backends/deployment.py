"""Backend `deployment`: a real SuperLink and one SuperNode per device, as processes on this machine's
loopback.

Nothing is sent beyond 127.0.0.1. Flower starts an app from a bundle; the bundle here is one generated
`pyproject.toml`, and the code is imported from where this process imports it, so that exactly this code runs.
"""

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.errors import UserError
from core.interrupts import terminated_like_interrupted
from sim.backends.inprocess import ConfigValue

MOST_DEVICES = 32
_SERVER_APP, _OUTCOME = "deployment-server-app", "deployment-outcome"

app = ServerApp()


@app.main()
def _report_outcome(grid: Grid, context: Context) -> None:
    """Run the ServerApp named in the run's configuration and write how it ended where `run` looks for it."""
    module, _, attribute = str(context.run_config.pop(_SERVER_APP)).partition(":")
    outcome = Path(str(context.run_config.pop(_OUTCOME)))
    error: dict[str, str] = {}
    try:
        getattr(importlib.import_module(module), attribute)(grid, context)
    except Exception as exception:
        traceback.print_exc()
        error = {"type": type(exception).__name__, "message": str(exception)}
    outcome.write_text(json.dumps(error), encoding="utf-8")


def run(
    server_app: str,
    client_app: str,
    *,
    num_devices: int,
    run_config: Mapping[str, ConfigValue],
    log_file: Path,
) -> None:
    """Start the network, run the apps (import strings), stop everything.

    Raises UserError for more than 32 devices and where the ServerApp raised one; RuntimeError where it raised
    anything else or Flower failed, with the place of the log.
    """
    if num_devices > MOST_DEVICES:
        raise UserError(
            f"backend 'deployment' starts a process of about 260 MB for each device and takes at most "
            f"{MOST_DEVICES}, not {num_devices}: use the backend 'inprocess' or 'ray'"
        )
    with tempfile.TemporaryDirectory(prefix="deployment-") as scratch, ExitStack() as running:
        folder = Path(scratch)
        outcome = folder / "outcome.json"
        settings = {**run_config, _SERVER_APP: server_app, _OUTCOME: str(outcome)}
        link, *ports = _free_ports(num_devices + 1)
        _write_app(folder / "app", client_app, settings)
        _write_connection(folder / "home", link)
        environment = _environment(folder / "home")
        log = running.enter_context(log_file.open("ab"))
        running.enter_context(terminated_like_interrupted())

        arguments = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link)]
        superlink = running.enter_context(_process(arguments, environment, log))
        _wait_until_healthy(superlink, link, log_file)
        environment_of_devices = {**environment, "OMP_NUM_THREADS": "1"}  # many processes share the cores
        for device, port in enumerate(ports):
            arguments = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}"]
            arguments += ["--host", "127.0.0.1", "--port", str(port)]
            arguments += ["--node-config", f"partition-id={device} num-partitions={num_devices}"]
            running.enter_context(_process(arguments, environment_of_devices, log))
        arguments = ["flwr", "run", str(folder / "app"), "loopback", "--stream"]
        with _process(arguments, environment, log) as flwr:
            flwr.wait()
        if not outcome.exists():
            raise RuntimeError(f"the deployment ended without a result: see {log_file}")
        error = json.loads(outcome.read_text(encoding="utf-8"))
    if error.get("type") == UserError.__name__:
        raise UserError(error["message"])
    if error:
        raise RuntimeError(f"{error['type']}: {error['message']} (see {log_file})")


def _write_app(folder: Path, client_app: str, settings: Mapping[str, ConfigValue]) -> None:
    components = {"serverapp": f"{__name__}:app", "clientapp": client_app}
    lines = [
        "[project]",
        'name = "deployment"',
        'version = "1.0.0"',
        'license = "Apache-2.0"',
        "dependencies = []",
    ]
    lines += ["[tool.flwr.app]", 'publisher = "local"', "[tool.flwr.app.components]", *_toml(components)]
    lines += ["[tool.flwr.app.config]", *_toml(settings)]
    folder.mkdir()
    (folder / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_connection(home: Path, port: int) -> None:
    home.mkdir()
    lines = ["[superlink]", 'default = "loopback"', "[superlink.loopback]"]
    lines += _toml({"address": f"127.0.0.1:{port}", "insecure": True})
    (home / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(table: Mapping[str, ConfigValue]) -> list[str]:
    """Key = value lines. TOML writes numbers, truth values and strings as JSON does."""
    return [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]


def _environment(home: Path) -> dict[str, str]:
    """This process's environment, and what its children need to find Flower's commands and our code."""
    return {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def _process(arguments: list[str], environment: dict[str, str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, ended with its children when the block is left.

    Its own group keeps the terminal's Ctrl-C from it, so that the order in which things stop is ours.
    """
    command = shutil.which(arguments[0], path=environment["PATH"])
    if command is None:
        raise UserError(f"the command {arguments[0]} is not installed: pip install 'flwr[simulation]'")
    process = subprocess.Popen(
        [command, *arguments[1:]],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, kind)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]


def _wait_until_healthy(superlink: subprocess.Popen[bytes], port: int, log_file: Path, limit: float = 60.0) -> None:
    """Return when the SuperLink answers (seconds at most ``limit``), past any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + limit
    while superlink.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"Flower's SuperLink did not start: see {log_file}")
