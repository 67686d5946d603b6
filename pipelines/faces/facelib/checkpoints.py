"""Checkpoints of a training: whole or not there, checked when read, never a pickle.

They lie in the folder that the environment variable CHECKPOINTS names (`./checkpoints` by default, none where it is
empty). A file's name holds its step, a fingerprint of what the training was made of and a digest of its content, so
that one of another training or a damaged one is passed over.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

KEPT = 2
"""The last is used; the one before it, where the last is damaged. Of other trainings the one written last is left
alone: whoever goes back to it (other parameters, a GPU again) need not begin anew."""
_NAME = re.compile(r"\d{9}-[0-9a-f]{16}-[0-9a-f]{16}\.safetensors")
"""Step, fingerprint, digest."""


class Checkpoints:
    """Those of one training."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Write one; of older ones this training's last stays and another's. `values` are JSON values."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # A tensor that lies in memory another way round would come back the other way: strides are not in the file.
        data = save({name: value.contiguous() for name, value in tensors.items()}, {"values": json.dumps(values)})
        path = self.folder / f"{step:09}-{self.fingerprint}-{_digest(data)}.safetensors"
        for left in self.folder.glob("*.tmp"):  # by a training that was killed while it wrote
            left.unlink()
        draft = path.with_suffix(".tmp")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        files = self._files()
        # One of this step or a later one is damaged: this training went back behind it.
        before = [file for file in files if self._is_mine(file) and file.name < f"{step:09}"]
        others = sorted((f for f in files if not self._is_mine(f)), key=lambda f: f.stat().st_mtime_ns)
        for old in set(files) - {path, *before[1 - KEPT :], *others[-1:]}:
            old.unlink()

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Step, tensors (on the CPU) and values of the last that is whole, or None."""
        for path in filter(self._is_mine, reversed(self._files())):
            step, _, digest = path.stem.split("-")
            data = path.read_bytes()
            if _digest(data) != digest:
                print(f"train: checkpoint {path.name} is damaged; going back to the one before it", flush=True)
                continue
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            return int(step), load(data), json.loads(header["__metadata__"]["values"])
        return None

    def _files(self) -> list[Path]:
        """All whole checkpoints by step, those of other trainings too."""
        if self.folder is None or not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def _is_mine(self, path: Path) -> bool:
        return path.stem.split("-")[1] == self.fingerprint

    def remove(self) -> None:
        """Delete all."""
        for path in self._files():
            path.unlink()


def folder() -> Path | None:
    """Where checkpoints go."""
    named = os.environ.get("CHECKPOINTS", "checkpoints")
    return Path(named) if named else None


def fingerprint(values: Any, files: Iterable[Path]) -> str:
    """Of parameters (JSON values) and of files, by content."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()[:16]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
