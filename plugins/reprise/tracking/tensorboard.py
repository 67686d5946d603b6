"""A stage's live lines and pictures as TensorBoard event files, and the program that shows them."""

import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from reprise.errors import BadInput, RepriseError
from reprise.folders import slug
from reprise.settings import Settings
from reprise.tracking.points import Point
from reprise.untrusted import Refused

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

FOLDER = "tensorboard"
_MOST_PIXELS = 25_000_000
"""Of a picture: 75 MB of memory."""


def board_folder(settings: Settings, dag_id: str, run_id: str, stage: str) -> Path:
    """Where a stage's event files lie."""
    return settings.var / FOLDER / slug(dag_id) / slug(run_id) / slug(stage)


class Board:
    """The event files of one try of a stage; begun with its first line or picture, in place of an earlier try's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: SummaryWriter | None = None
        self._step = 0

    @property
    def _writer(self) -> "SummaryWriter":
        if self._opened is None:
            from tensorboardX import SummaryWriter

            logging.getLogger("tensorboardX").setLevel(logging.ERROR)  # it warns of each NaN
            shutil.rmtree(self.folder, ignore_errors=True)
            self._opened = SummaryWriter(str(self.folder), flush_secs=5)
        return self._opened

    def add(self, points: Iterable[Point]) -> None:
        """Write points."""
        for point in points:
            self._writer.add_scalar(point.name, point.value, point.step, walltime=point.time / 1000)
            self._step = max(self._step, point.step)

    def picture(self, name: str, file: Path) -> None:
        """Write a picture, at the last step that was seen.

        :raises Refused: it has too many pixels: a few bytes of PNG may stand for gigabytes of them.
        """
        import numpy as np
        from PIL import Image

        # Pillow goes by the content, not by the name, and starts Ghostscript for PostScript.
        with Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise Refused(f"{name!r} has {image.width} × {image.height} pixels")
            pixels: Any = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, self._step, walltime=file.stat().st_mtime, dataformats="HWC")

    def close(self) -> Path | None:
        """Write what is left; returns the folder, None where there was nothing to write."""
        if self._opened is None:
            return None
        self._opened.close()
        return self.folder


def serve(settings: Settings) -> None:
    """Show all runs' event files until Ctrl-C.

    :raises RepriseError: where there are none, the port is taken, or the program ends by itself.
    """
    folder = settings.var / FOLDER
    if not folder.is_dir():
        raise BadInput(f"there are no event files below {folder} yet", "make run")
    port = urlparse(settings.tensorboard).port or 6006
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            other = f"REPRISE_TENSORBOARD=http://127.0.0.1:{port + 1} make tensorboard"
            raise RepriseError(f"port {port} for TensorBoard is taken by another program", other) from error
    print(f"TensorBoard: {settings.tensorboard} (Ctrl-C stops it)", flush=True)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    with subprocess.Popen([*command, "--host", "127.0.0.1", "--reload_interval", "5"]) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            print("TensorBoard: stopped", flush=True)
            return
    raise RepriseError(f"TensorBoard ended by itself with exit code {code}", "see its own words above")
