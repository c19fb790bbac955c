"""Backend `deployment`: a real SuperLink and one SuperNode per device, as processes on this machine's
loopback.

Nothing is sent beyond 127.0.0.1. Flower starts an app from a bundle; the bundle here is one generated
`pyproject.toml`, and the code is imported from where this process imports it, so that exactly this code runs.
"""

import importlib
import json
import os
import socket
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import tomli_w
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.errors import UserError
from core.interrupts import terminated_like_interrupted
from sim.backends.inprocess import ConfigValue
from sim.backends.processes import ProcessGroup, import_path

MOST_DEVICES = 32
_SERVER_APP, _OUTCOME = "deployment-server-app", "deployment-outcome"
_RUN = "command flwr run"

app = ServerApp()


@app.main()
def _report_outcome(grid: Grid, context: Context) -> None:
    """Run the ServerApp named in the run's configuration and write how it ended where `run` looks for it."""
    module, _, attribute = str(context.run_config.pop(_SERVER_APP)).partition(":")
    outcome = Path(str(context.run_config.pop(_OUTCOME)))
    _begun(outcome).touch()
    error: dict[str, str | bool] = {}
    try:
        getattr(importlib.import_module(module), attribute)(grid, context)
    except BaseException as exception:
        traceback.print_exc()
        text = str(exception)
        error = {"type": type(exception).__name__, "message": text, "user": isinstance(exception, UserError)}
    temporary = outcome.with_suffix(".tmp")
    temporary.write_text(json.dumps(error), encoding="utf-8")
    os.replace(temporary, outcome)  # `run` reads it as soon as it is there


def run(
    server_app: str,
    client_app: str,
    *,
    num_nodes: int,
    run_config: Mapping[str, ConfigValue],
    log_file: Path,
    device_dir: Path | None = None,
) -> None:
    """Start the network, run the apps (import strings), stop everything.

    Raises UserError for more than 32 devices, where the ServerApp raised one, and where Flower or one of its processes
    ended before the ServerApp; RuntimeError where the ServerApp raised anything else. Both name the log.
    """
    if num_nodes > MOST_DEVICES:
        raise UserError(
            f"backend 'deployment' starts processes of about 460 MB for each device and takes at most "
            f"{MOST_DEVICES}, not {num_nodes}: use the backend 'inprocess' or 'ray'"
        )
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="deployment-")))
        outcome = folder / "outcome.json"
        settings = {**run_config, _SERVER_APP: server_app, _OUTCOME: str(outcome)}
        link, *ports = _free_ports(num_nodes + 1)
        for name, file, text in (
            ("app", "pyproject.toml", _app_toml(client_app, settings)),
            ("home", "config.toml", _connection_toml(link)),
        ):
            (folder / name).mkdir()
            (folder / name / file).write_text(text, encoding="utf-8")
        environment = _environment(folder / "home")
        log = running.enter_context(log_file.open("ab"))
        running.enter_context(terminated_like_interrupted())
        network = running.enter_context(ProcessGroup(folder))

        arguments = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link)]
        network.start("SuperLink", arguments, environment, log)
        _wait_until_healthy(network, link, log_file)
        network.start(_RUN, ["flwr", "run", str(folder / "app"), "loopback", "--stream"], environment, log)
        # Flower gives the process of a ServerApp 30 s to start, which it does not meet beside those of many SuperNodes.
        _wait_for(_begun(outcome), network, log_file)
        environment_of_devices = {**environment, "OMP_NUM_THREADS": "1"}  # many processes share the cores
        for device, port in enumerate(ports):
            arguments = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}"]
            arguments += ["--host", "127.0.0.1", "--port", str(port)]
            arguments += ["--node-config", f"partition-id={device} num-partitions={num_nodes}"]
            network.start(f"SuperNode of device {device}", arguments, environment_of_devices, log)
        _wait_for(outcome, network, log_file)
        _pass_on(outcome, log_file)


def _pass_on(outcome: Path, log_file: Path) -> None:
    """Raise what the ServerApp has raised."""
    error = json.loads(outcome.read_text(encoding="utf-8"))
    if error.get("user"):
        raise UserError(error["message"])
    if error:
        raise RuntimeError(f"{error['type']}: {error['message']} (see {log_file})")


def _begun(outcome: Path) -> Path:
    """The file that says that the ServerApp has begun."""
    return outcome.with_name("begun")


def _wait_for(file: Path, network: ProcessGroup, log_file: Path) -> None:
    """Return when the ServerApp has written the file.

    Raises UserError when the network has lost a process before: without it no session of its device could be played,
    and Flower would go on asking for minutes.
    """
    while True:
        ended = network.ended()
        if file.exists():  # looked for after the processes, which may end as soon as the ServerApp has
            return
        for title, how in ended.items():
            raise _lost(title, how, log_file)
        time.sleep(0.2)


def _lost(title: str, how: str, log_file: Path) -> UserError:
    return UserError(f"the {title} has ended before the run ({how}): see {log_file}; the same command continues")


def _app_toml(client_app: str, settings: Mapping[str, ConfigValue]) -> str:
    flower = {
        "publisher": "local",
        "components": {"serverapp": f"{__name__}:app", "clientapp": client_app},
        "config": dict(settings),
    }
    project = {"name": "deployment", "version": "1.0.0", "license": "Apache-2.0", "dependencies": []}
    return tomli_w.dumps({"project": project, "tool": {"flwr": {"app": flower}}})


def _connection_toml(port: int) -> str:
    connection = {"address": f"127.0.0.1:{port}", "insecure": True}
    return tomli_w.dumps({"superlink": {"default": "loopback", "loopback": connection}})


def _environment(home: Path) -> dict[str, str]:
    """This process's environment, and what its children need to find Flower's commands and our code."""
    return {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": import_path(),
        "PYTHONUNBUFFERED": "1",
    }


def _free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]


def _wait_until_healthy(network: ProcessGroup, port: int, log_file: Path, limit: float = 300.0) -> None:
    """Return when the SuperLink answers (seconds at most ``limit``), past any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        for title, how in network.ended().items():
            raise _lost(title, how, log_file)
        try:
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"Flower's SuperLink did not answer within {limit:g} s: see {log_file}")
