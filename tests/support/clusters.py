"""Ray clusters and Flower federations of machines that share nothing (:mod:`tests.support.machines`)."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tomli_w

from sim.backends.keys import write_certificates, write_node_key
from sim.backends.processes import import_path
from tests.support.machines import HERE, Machine, machines, stop, wait_until

BIN = Path(sys.executable).parent
RAY_PORT, LINK_PORT = 6390, 8123
STOPPED, COMPLETED = "finished:stopped", "finished:completed"
"""Flower's words for what became of a run."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with Flower's commands and our code in the paths."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("SIM_DEVICE_DIR", "RAY_ADDRESS")},
        "PYTHONPATH": import_path(),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        **more,
    }


@contextmanager
def started(words: list[str], log: Path, variables: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The command, in a session of its own; it and all that it has started end with the block."""
    with log.open("ab") as file:
        process = subprocess.Popen(words, env=variables, stdout=file, stderr=file, start_new_session=True)
        try:
            yield process
        finally:
            stop(process)


def installed(disk: Path) -> int:
    """Files in the depots below a folder."""
    return len([path for path in disk.rglob("*.safetensors") if len(path.stem) == 64])


# -- Ray ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """A head here and a node on another machine, one processor each."""

    address: str
    here: Path
    """What its processes here take for the folder of temporary files."""
    there: Machine
    raylet: "subprocess.Popen[bytes]"
    """`ray start` on the other machine."""


@contextmanager
def ray_cluster(folder: Path) -> Iterator[Cluster]:
    """Two raylets that share nothing but the network."""
    here, heard, heard_there = folder / "here", folder / "head.log", folder / "there.log"
    here.mkdir()
    with (
        machines(1) as (there,),
        heard.open("ab") as log,
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets,  # whose paths must be short
    ):
        shared = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=200000000", "--block"]
        head = ["ray", "start", "--head", f"--node-ip-address={HERE}", f"--port={RAY_PORT}"]
        head += ["--include-dashboard=false", f"--temp-dir={sockets}"]
        begin = partial(
            subprocess.Popen, env=environment(TMPDIR=str(here)), stdout=log, stderr=log, start_new_session=True
        )
        process = _until_up(lambda: begin([*head, *shared]), heard)
        try:
            other = ["ray", "start", f"--address={HERE}:{RAY_PORT}", f"--node-ip-address={there.address}"]
            raylet = _until_up(lambda: there.start([*other, *shared], heard_there, environment()), heard_there)
            yield Cluster(f"{HERE}:{RAY_PORT}", here, there, raylet)
        finally:
            stop(process)


def _until_up(begin: Callable[[], "subprocess.Popen[bytes]"], log: Path) -> "subprocess.Popen[bytes]":
    """Start a node of Ray, again if it ends: on a busy machine it gives up after 30 seconds."""
    for _ in range(5):
        process = begin()
        wait_until(lambda process=process: b"runtime started" in log.read_bytes() or process.poll() is not None)
        if process.poll() is None:
            return process
        stop(process)
    raise AssertionError(log.read_text()[-3000:])


# -- SuperNodes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Federation:
    """A SuperLink here with TLS and authentication, and a SuperNode on each of other machines."""

    home: Path
    """Flower's, with the connection `three`."""
    nodes: list[Machine]

    @property
    def variables(self) -> dict[str, str]:
        """For commands that use the connection."""
        return environment(FLWR_HOME=str(self.home))

    def runs(self) -> list[str]:
        """The status of each run that the SuperLink has had, by `flwr list`."""
        words = [str(BIN / "flwr"), "list", "three", "--format", "json"]
        told = subprocess.run(words, env=self.variables, check=True, capture_output=True, text=True).stdout
        runs = sorted(json.loads(told[told.index("{") :])["runs"], key=lambda run: str(run["pending-at"]))
        return [str(run["status"]) for run in runs]


@contextmanager
def federation_of(count: int, folder: Path) -> Iterator[Federation]:
    """So many SuperNodes, each with a key of its own, that share nothing but the network."""
    home = folder / "home"
    home.mkdir()
    write_certificates(folder, HERE)
    connection = {"address": f"{HERE}:{LINK_PORT}", "root-certificates": str(folder / "ca.crt")}
    (home / "config.toml").write_text(tomli_w.dumps({"superlink": {"default": "three", "three": connection}}))
    variables = environment(FLWR_HOME=str(home))
    with machines(count) as nodes:
        link = ["flower-superlink", "--enable-supernode-auth", "--host", HERE, "--port", str(LINK_PORT)]
        link += ["--ssl-ca-certfile", str(folder / "ca.crt"), "--ssl-certfile", str(folder / "server.crt")]
        link += ["--ssl-keyfile", str(folder / "server.key")]
        with started(link, folder / "superlink.log", variables):
            wait_until(lambda: _listens(LINK_PORT))
            for number, node in enumerate(nodes):
                public = write_node_key(folder / f"{number}.key")
                words = ["flwr", "supernode", "register", str(public), "three"]
                subprocess.run([BIN / words[0], *words[1:]], env=variables, check=True, capture_output=True)
                start_supernode(node, folder, number)
            yield Federation(home, nodes)


def start_supernode(node: Machine, folder: Path, number: int) -> "subprocess.Popen[bytes]":
    """Start the SuperNode of a machine, which gets its key and the authority's certificate."""
    keys = {name: (folder / name).read_text() for name in ("ca.crt", f"{number}.key")}
    brought = " && ".join(f"printf '%s' \"$K{k}\" > {name}" for k, name in enumerate(keys))
    start = (
        f"{brought} && exec flower-supernode --root-certificates ca.crt --superlink {HERE}:{LINK_PORT} "
        f"--auth-supernode-private-key {number}.key --node-config 'device-dir=\"/tmp/devices\"'"
    )
    own = environment(**{f"K{k}": text for k, text in enumerate(keys.values())})
    return node.start(["sh", "-c", start], folder / f"node-{number}.log", own)


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex((HERE, port)) == 0
