"""The state of a training after an epoch, in a file that says whose it is and carries a digest."""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from core import atomic, sealed
from core.errors import Damaged

_FIX = "delete it and start the command again, which trains from the first epoch"


def save_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """File the state of the training that ``key`` names, whole or not at all."""
    out = BytesIO()
    torch.save(state, out)
    facts = {"kind": "training checkpoint", "key": key, "epoch": str(len(state["records"]))}
    atomic.write(path, sealed.pack(out.getvalue(), facts))


def load_checkpoint(path: Path, key: str, device: torch.device) -> dict[str, Any]:
    """What :func:`save_checkpoint` filed; raises :class:`core.errors.Damaged` if it is not that, or another one's."""
    content = sealed.unpack(path, {"kind": "training checkpoint", "key": key}, _FIX)
    try:
        state: dict[str, Any] = torch.load(BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # written by another version of PyTorch, say: then its reader knows best
        raise Damaged(f"{path} cannot be read by this version of PyTorch ({type(error).__name__}); {_FIX}") from None
    return state
