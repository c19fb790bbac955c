"""What tests of several files here share: models of their own, and a run of seconds."""

from pathlib import Path

import pytest

from sim.config import Config
from tests.support import runs


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs find no model that another test has trained, and draw no figures."""
    runs.own_cache(tmp_path, monkeypatch)


@pytest.fixture
def config(tmp_path: Path, own_cache: None) -> Config:
    """A run of seconds with twelve devices; files of tests that need another one replace this."""
    return runs.small_config(tmp_path, devices=12)
