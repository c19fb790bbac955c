"""The same rows from machines that share nothing: two raylets, three SuperNodes with TLS and authentication.

Each machine is a network and a mount namespace (:mod:`tests.support.machines`): what this one writes is not there.
More of the kind takes minutes and is a script: :mod:`tests.support.isolated`.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from sim.config import Config
from tests.support.clusters import environment, federation_of, installed, ray_cluster
from tests.support.isolated import POLICY, command, play, play_killed_and_again, reference, small
from tests.support.machines import possible
from tests.support.runs import sessions, without_report

pytestmark = [
    pytest.mark.xdist_group("network"),
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not possible(), reason="network and mount namespaces need Linux and root"),
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    without_report(monkeypatch)
    return small(tmp_path)


def test_two_raylets_that_share_nothing_give_the_rows_of_one_process_and_after_a_kill(
    config: Config, tmp_path: Path
) -> None:
    config = replace(config, policy=POLICY, backend="ray")
    expected = reference(config, tmp_path / "inprocess")
    with ray_cluster(tmp_path) as cluster:
        play_killed_and_again(config, 4, tmp_path / "out", environment(RAY_ADDRESS=cluster.address))
        assert sessions(config.folder).equals(expected)
        assert not (cluster.there.disk() / config.folder.relative_to("/")).exists()
        assert installed(cluster.there.disk() / "tmp") == installed(cluster.here) == 2  # both nodes worked


def test_three_supernodes_that_share_nothing_give_the_rows_of_one_process(config: Config, tmp_path: Path) -> None:
    # One session of one method: each message to a SuperNode starts a process.
    config = replace(config, methods="forward-ofa", backend="deployment", superlink="three", supernodes=3, sessions=1)
    expected = reference(config, tmp_path / "inprocess")
    with federation_of(3, tmp_path) as federation:
        log = tmp_path / "out"
        assert play(command(config), log, federation.variables) == 0, log.read_text()[-3000:]
        assert sessions(config.folder).equals(expected)
        assert [installed(node.disk() / "tmp" / "devices") for node in federation.nodes] == [1, 1, 1]  # each of them
        assert not any((node.disk() / config.folder.relative_to("/")).exists() for node in federation.nodes)
