"""Commands that run the networks of a finished run again."""

import runpy
from pathlib import Path

# By its path: `core` may be what is hidden.
runpy.run_path(str(Path(__file__).resolve().parents[1] / "core" / "shadow.py"))["refuse"]()
