"""What tests of several folders do to be done sooner."""

import pytest

import analysis


def without_report(patch: pytest.MonkeyPatch) -> None:
    """Whole runs draw no figures: they take longer than so small a run."""
    patch.setattr(analysis, "build_report", lambda folder: folder)
