"""Batches of faces for the device: out of its own memory where they fit, else read ahead while it computes."""

import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AHEAD = 3
"""Batches waiting for the device."""


class Feed:
    """Faces uint8 [N, side, side, 3] by rows, on the device."""

    def __init__(self, faces: NDArray[np.uint8], device: torch.device, memory_gb: float) -> None:
        self.device = device
        self.faces = torch.from_numpy(faces)
        self.resident, self.why = _fits(faces, device, memory_gb)
        if self.resident:
            self.faces = self.faces.to(device)

    def batches(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        """The faces of each batch of rows, in order."""
        if self.resident:
            for chosen in rows:
                yield self.faces[chosen.to(self.device)]
        else:
            yield from self._ahead(rows)

    def _ahead(self, rows: Sequence[Tensor]) -> Iterator[Tensor]:
        waiting: queue.Queue[Tensor | BaseException | None] = queue.Queue(AHEAD)
        stop = threading.Event()

        def put(item: Tensor | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return waiting.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def read() -> None:
            try:
                for chosen in rows:
                    batch = self.faces[chosen]
                    put(batch.pin_memory() if self.device.type == "cuda" else batch)
                put(None)
            except BaseException as error:  # to whoever waits for the batch
                put(error)

        reader = threading.Thread(target=read, name="feed", daemon=True)
        reader.start()
        try:
            while (batch := waiting.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield batch.to(self.device, non_blocking=True)
        finally:
            stop.set()
            reader.join()


def _fits(faces: NDArray[np.uint8], device: torch.device, memory_gb: float) -> tuple[bool, str]:
    """Whether the device keeps all faces, and why."""
    size = faces.nbytes / 1e9
    if isinstance(faces, np.memmap):
        return False, f"{size:.1f} GB are more than memory_gb"
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] / 1e9
        if size > min(memory_gb, free / 2):
            return False, f"{size:.1f} GB are more than memory_gb or half of the GPU's free {free:.1f} GB"
    return True, f"{size:.2g} GB"
