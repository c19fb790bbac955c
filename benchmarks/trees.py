"""Sources of another commit beside these: what a benchmark with ``--before TREE`` measures in turn.

A tree is a checkout (`git worktree add ../before COMMIT`). Whatever runs its sources is a process of its own, with the
tree as working directory and first on the path, since two versions of a package cannot be imported into one process.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError

HERE = Path(__file__).resolve().parents[1]
"""These sources."""
SAID = 2_000
"""Characters of a failed process's output that its error repeats: the last ones."""


def checked(option: str, tree: Path) -> Path:
    """The tree; raises :class:`UserError` where there are no sources."""
    if not (tree / "sim" / "config.py").is_file():
        raise UserError(
            f"--{option} {tree}: no checkout of this project; git worktree add {tree} COMMIT makes one of a commit"
        )
    return tree.resolve()


def check_places(out: Path | None, before: Path | None = None) -> None:
    """Raise :class:`UserError` if ``--before`` has no sources, or there is no folder for ``--out``."""
    if before is not None:
        checked("before", before)
    if out is not None and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")


def commit_of(tree: Path) -> str:
    """The commit that a tree is of, in short; "unknown" where it is no clone."""
    words = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    told = subprocess.run(words, check=False, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


def knows(tree: Path, option: str) -> bool:
    """Whether ``sim.run`` of the tree has this option."""
    return f"    {option}: " in (tree / "sim" / "config.py").read_text(encoding="utf-8")


def environment(tree: Path, **more: str) -> dict[str, str]:
    """The environment of a process that runs the tree's sources."""
    return {**os.environ, "PYTHONPATH": str(tree.resolve()), **more}


def run_in(tree: Path, words: Sequence[str], **more: str) -> str:
    """Run Python with these words on the tree's sources; its standard output.

    Raises RuntimeError with the end of what it said if it fails. ``more`` are variables of its environment.
    """
    done = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment(tree, **more), check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{tree}: status {done.returncode}\n{(done.stdout + done.stderr)[-SAID:]}")
    return done.stdout
