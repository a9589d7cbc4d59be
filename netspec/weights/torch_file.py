"""State dicts as PyTorch saves them, read by PyTorch without the objects it can run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec.errors import FileError, MachineError
from netspec.weights.npz_file import ZIP_SIGNATURE
from netspec.weights.stored import StoredBlob, of_array

# How files begin that PyTorch wrote before they became archives.
_OLD_SIGNATURE = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
_PICKLE = "/data.pkl"


def is_torch(path: str | Path, head: bytes) -> bool:
    """Tell by its contents whether PyTorch wrote a file."""
    if head.startswith(_OLD_SIGNATURE):
        return True
    if not head.startswith(ZIP_SIGNATURE):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith(_PICKLE) for name in file.namelist())
    except Exception:  # of many kinds, as of npz_arrays, which says more
        return False


def arrays(path: str | Path) -> dict[str, StoredBlob]:
    """Return the arrays of a state dict by their keys.

    Raises `MachineError` where PyTorch is missing, `FileError` for anything else than
    tensors by name.
    """
    try:
        import torch
    except ImportError as error:
        raise MachineError(
            f"{path}: was saved by PyTorch, which it takes to read it; install torch, "
            f"or save the state dict as .safetensors or .npz"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, what it runs being anything
        raise FileError(f"{path}: PyTorch cannot read it: {error}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]  # of a checkpoint
    if not isinstance(state, Mapping) or not all(map(torch.is_tensor, state.values())):
        raise FileError(
            f"{path}: holds no state dict; save model.state_dict() with torch.save"
        )
    return {str(key): _stored(value) for key, value in state.items()}


def _stored(tensor: Any) -> StoredBlob:
    return of_array(tensor.detach().float().contiguous().numpy())
