"""Backend `deployment`: Flower's SuperLink and SuperNodes, as processes on this machine's loopback.

Nothing is sent beyond 127.0.0.1, by TLS, from SuperNodes that authenticate themselves, with keys made for the run.
:mod:`sim.backends.federation` runs on those that are there already.

Flower starts an app from a bundle; the bundle here is one generated `pyproject.toml`, and the code is imported from
where this process imports it.
"""

import importlib
import json
import os
import socket
import ssl
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import tomli_w
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.folders import DEVICE_DIR
from core.errors import UserError
from core.interrupts import terminated_like_interrupted
from core.run_folder import NODES
from sim.backends.inprocess import ConfigValue
from sim.backends.keys import write_certificates, write_node_key
from sim.backends.processes import ProcessGroup, import_path

MOST_NODES = 32
_HERE, _CONNECTION = "127.0.0.1", "loopback"
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
    """Start a network on this machine, run the apps (import strings), stop everything.

    Each of the ``num_nodes`` SuperNodes has a key, a home and a folder for temporary files of its own, and below
    ``device_dir`` one for what its devices keep; without it that is gone with the run.

    Raises UserError for more than 32 SuperNodes, where the ServerApp raised one, and where Flower or one of its
    processes ended before the ServerApp; RuntimeError where the ServerApp raised anything else. Both name the log.
    """
    if num_nodes > MOST_NODES:
        raise UserError(
            f"backend 'deployment' starts processes of about 460 MB for each SuperNode and takes at most {MOST_NODES} "
            f"of them, not {num_nodes}: a SuperNode stands for many devices, so give a smaller --supernodes"
        )
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="deployment-")))
        outcome = folder / "outcome.json"
        settings = {**run_config, _SERVER_APP: server_app, _OUTCOME: str(outcome)}
        link, *ports = _free_ports(num_nodes + 1)
        write_certificates(folder, _HERE)
        write_app(folder / "app", f"{__name__}:app", client_app, settings)
        (folder / "home").mkdir()
        (folder / "home" / "config.toml").write_text(_connection_toml(link, folder / "ca.crt"), encoding="utf-8")
        environment = flower_environment(folder / "home")
        log = running.enter_context(log_file.open("ab"))
        running.enter_context(terminated_like_interrupted())
        network = running.enter_context(ProcessGroup(folder))

        arguments = ["flower-superlink", "--enable-supernode-auth", "--host", _HERE, "--port", str(link)]
        arguments += ["--ssl-ca-certfile", str(folder / "ca.crt"), "--ssl-certfile", str(folder / "server.crt")]
        network.start("SuperLink", [*arguments, "--ssl-keyfile", str(folder / "server.key")], environment, log)
        _wait_until_healthy(network, link, folder / "ca.crt", log_file)
        _register_keys(network, folder, num_nodes, environment, log, log_file)
        network.start(_RUN, ["flwr", "run", str(folder / "app"), _CONNECTION, "--stream"], environment, log)
        # Flower gives the process of a ServerApp 30 s to start, which it does not meet beside those of many SuperNodes.
        _wait_for(_begun(outcome), network, log_file)
        for number, port in enumerate(ports):
            own = folder / f"node-{number}"
            arguments = ["flower-supernode", "--root-certificates", str(folder / "ca.crt")]
            arguments += ["--superlink", f"{_HERE}:{link}", "--host", _HERE, "--port", str(port)]
            arguments += ["--auth-supernode-private-key", str(folder / f"node-{number}.key")]
            kept = own / "devices" if device_dir is None else device_dir / NODES / str(number)
            node = f'partition-id={number} num-partitions={num_nodes} {DEVICE_DIR}="{kept}"'
            arguments += ["--node-config", node]
            network.start(f"SuperNode {number}", arguments, _environment_of_node(environment, own), log)
        _wait_for(outcome, network, log_file)
        _pass_on(outcome, log_file)


def _register_keys(
    network: ProcessGroup, folder: Path, count: int, environment: Mapping[str, str], log: IO[bytes], log_file: Path
) -> None:
    """Tell the SuperLink the keys of the SuperNodes that may join it."""
    titles = []
    for number in range(count):
        public = write_node_key(folder / f"node-{number}.key")
        titles.append(f"registration of SuperNode {number}")
        command = ["flwr", "supernode", "register", str(public), _CONNECTION]
        network.start(titles[-1], command, environment, log)
    for title in titles:
        if (how := network.finish(title)) != "exit status 0":
            raise _lost(title, how, log_file)


def write_app(folder: Path, server_app: str, client_app: str, settings: Mapping[str, ConfigValue]) -> None:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(_app_toml(server_app, client_app, settings), encoding="utf-8")


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

    Raises UserError when the network has lost a process before: without it no session of its devices could be played,
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


def _app_toml(server_app: str, client_app: str, settings: Mapping[str, ConfigValue]) -> str:
    flower = {
        "publisher": "local",
        "components": {"serverapp": server_app, "clientapp": client_app},
        "config": dict(settings),
    }
    project = {"name": "deployment", "version": "1.0.0", "license": "Apache-2.0", "dependencies": []}
    return tomli_w.dumps({"project": project, "tool": {"flwr": {"app": flower}}})


def _connection_toml(port: int, authority: Path) -> str:
    connection = {"address": f"{_HERE}:{port}", "root-certificates": str(authority)}
    return tomli_w.dumps({"superlink": {"default": _CONNECTION, _CONNECTION: connection}})


def flower_environment(home: Path | None) -> dict[str, str]:
    """This process's environment, and what its children need to find Flower's commands and our code; with a ``home``
    Flower's configuration is there."""
    return {
        **os.environ,
        **({} if home is None else {"FLWR_HOME": str(home)}),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": import_path(),
        "PYTHONUNBUFFERED": "1",
    }


def _environment_of_node(environment: Mapping[str, str], own: Path) -> dict[str, str]:
    """That of a SuperNode, whose folders are its own; many processes share the cores."""
    folders = {"HOME": own / "home", "TMPDIR": own / "tmp", "FLWR_HOME": own / "flower"}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return {**environment, **{name: str(folder) for name, folder in folders.items()}, "OMP_NUM_THREADS": "1"}


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind((_HERE, 0))
        return [int(bound.getsockname()[1]) for bound in sockets]


def _wait_until_healthy(
    network: ProcessGroup, port: int, authority: Path, log_file: Path, limit: float = 300.0
) -> None:
    """Return when the SuperLink answers (seconds at most ``limit``), past any proxy of the environment."""
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(authority)))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        for title, how in network.ended().items():
            raise _lost(title, how, log_file)
        try:
            with opener.open(f"https://{_HERE}:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"Flower's SuperLink did not answer within {limit:g} s: see {log_file}")
