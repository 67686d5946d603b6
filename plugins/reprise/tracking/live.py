"""Follow a stage while it runs: its lines and pictures, and what its container takes of the machine.

All of it goes into the run's outbox, from there to MLflow and W&B, and into TensorBoard's event files.
"""

import logging
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reprise import untrusted
from reprise.errors import RepriseError
from reprise.tracking import points, usage
from reprise.tracking.mlflow_server import PICTURES, Tracker, now
from reprise.tracking.outbox import Outbox
from reprise.tracking.points import Point, Tail
from reprise.tracking.tensorboard import Board
from reprise.tracking.wandb_run import WandbRun
from reprise.untrusted import Limits, Refused

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_SAMPLE_SECONDS = 5.0
_AWAY_SECONDS = 5.0
"""How long a server that was away is left in peace."""
_LOOKED_AT = Limits(entries=10_000, depth=8)
"""Of the live folder, once a second."""
_MOST_PICTURES = 1000
"""Of one try of a stage; each may be drawn anew as often as it likes."""
_MOST_BYTES = 32 * 1024**2
"""Of a picture."""


class Live(threading.Thread):
    """Follows one try of a stage, from ``start`` to :meth:`stop`. No trouble in here reaches the stage."""

    def __init__(
        self, folder: Path, outbox: Outbox, tracker: Tracker, board: Board, load: usage.Usage, wandb: WandbRun | None
    ) -> None:
        """
        :param folder: where the stage writes ``metrics.jsonl`` and pictures (``*.png``).
        :param wandb: begun with the stage's first line; None: not asked for.
        """
        super().__init__(name="live", daemon=True)
        self.folder, self.outbox, self.tracker, self.board = folder, outbox, tracker, board
        self.usage, self.wandb = load, wandb
        self.wandb_id: str | None = None
        self._done = threading.Event()
        self._tail = Tail(folder / points.FILE)
        self._pictures: dict[str, int] = {}
        self._begun = time.monotonic()
        self._sample_at = self._begun
        self._send_at = self._begun
        self._away = False
        self._troubles: dict[str, str] = {}

    def run(self) -> None:
        """Follow; what the stage wrote last is read before the thread ends."""
        while not self._done.wait(_POLL_SECONDS):
            self._tolerant(self._read_lines)
            self._tolerant(self._read_pictures)
            self._tolerant(self._sample)
            self._tolerant(self._send)
        self._tolerant(self._read_lines)
        self._tolerant(self._read_pictures)
        self._tolerant(self._close_board)
        self._tolerant(self._close_wandb)

    def stop(self) -> None:
        """Read what is left, and end. What is not sent by now is in the outbox."""
        self._done.set()
        self.join()

    def _tolerant(self, step: Callable[..., None], *args: Any) -> None:
        """A full disk, a broken picture: the stage goes on, and so do the other steps. Said once, not every second."""
        name = " ".join([step.__name__.strip("_"), *map(repr, args)])
        try:
            step(*args)
            self._troubles.pop(name, None)
        except Refused as error:
            if self._troubles.get(name) != repr(error):
                log.warning("live: left out: %s", error)
            self._troubles[name] = repr(error)
        except Exception as error:
            if self._troubles.get(name) != repr(error):
                log.exception("live: %s failed", name)
            self._troubles[name] = repr(error)

    def _read_lines(self) -> None:
        for batch in self._tail.batches():
            self.outbox.add(batch)
            self.board.add(batch)
            self._start_wandb()

    def _read_pictures(self) -> None:
        found = {
            path: info.st_mtime_ns
            for path, info in untrusted.walk(self.folder, "", _LOOKED_AT)
            if path.endswith(".png") and not stat.S_ISDIR(info.st_mode)
        }
        for path in sorted(path for path, version in found.items() if self._pictures.get(path) != version):
            if path not in self._pictures and len(self._pictures) >= _MOST_PICTURES:
                raise Refused(f"{path!r} and what comes after the first {_MOST_PICTURES:,} pictures")
            self._pictures[path] = found[path]
            self._tolerant(self._picture, path)

    def _picture(self, path: str) -> None:
        """Keep a picture as it is now: what MLflow and TensorBoard get is a copy that no container can exchange."""
        if not untrusted.is_line(path):
            raise Refused(f"{path!r} has a name with control characters, or bytes that are not UTF-8")
        kept = self.outbox.keep_written(self.folder, path, PICTURES, _MOST_BYTES)
        self.board.picture(path.removesuffix(".png"), kept)

    def _start_wandb(self) -> None:
        if self.wandb and not self.wandb.started:
            self.wandb.start(self.outbox.points)

    def _sample(self) -> None:
        at = time.monotonic()
        if at >= self._sample_at:
            values, step, when = self.usage.sample(), round(at - self._begun), now()
            self.outbox.add([Point(name, value, step, when) for name, value in values.items()])
            if usage.CPU in values:  # not before the container runs
                self._sample_at = at + _SAMPLE_SECONDS

    def _send(self) -> None:
        """A server that is away is said once, and once that it is back."""
        if time.monotonic() < self._send_at:
            return
        try:
            sent = self.outbox.send_lines(self.tracker, self._done.is_set)
        except RepriseError as error:
            if not self._away:
                log.warning("the stage goes on; what MLflow misses is sent when it is back: %s", error)
            self._away = True
            self._send_at = time.monotonic() + _AWAY_SECONDS
            return
        if self._away:
            log.info("MLflow is back: %d points sent that it had missed", sent)
        self._away = False

    def _close_board(self) -> None:
        events = self.board.close()
        if events:
            self.outbox.keep(events, "tensorboard")

    def _close_wandb(self) -> None:
        if self.wandb:
            self.wandb_id = self.wandb.finish()
