"""Points of a live curve: the lines that a stage writes while it runs, read as they come."""

import json
import logging
import posixpath
import re
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from reprise import untrusted

log = logging.getLogger(__name__)

FILE = "metrics.jsonl"
BATCH = 1000
"""As many points as MLflow takes in one request."""
_LONGEST_LINE = 64 * 1024
_MOST_BYTES = 1024**3
"""Of a stage's file of lines: ten million lines. What follows is left; a sparse file of a terabyte ends here, too."""
_NAME = re.compile(r"[\w.\- :/]{1,200}", re.ASCII)  # what MLflow takes, less room for the stage's name before it
_WARNINGS = 10


class Point(NamedTuple):
    """One value of one curve."""

    name: str
    value: float
    """NaN and the infinities are values too."""
    step: int
    time: int
    """Milliseconds since 1970, when it was measured: not when it was sent."""


def parse(line: bytes, now: int) -> Point:
    """A stage's line: ``{"step": 1, "name": "loss", "value": 0.5}``, and ``"time"`` (s since 1970) where it says so.

    :param now: the time of a line that has none (ms).
    :raises ValueError: saying what is wrong with it.
    """
    given = json.loads(line)
    try:
        name, value, step = str(given["name"]), float(given["value"]), int(given["step"])
        when = int(float(given["time"]) * 1000) if "time" in given else now
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not _NAME.fullmatch(name) or posixpath.normpath(name) != name or name.startswith(("/", "..")):
        raise ValueError(f"{name[:200]!r} is no name of a metric: letters, digits, _ . - / : and spaces")
    if not -(2**63) <= step < 2**63 or not 0 <= when < 2**63:
        raise ValueError("step or time is out of range")
    return Point(name, value, step, when)


def write_points(file: Path, points: Iterable[Point]) -> None:
    """Append points to a file of points that :func:`read_points` reads."""
    with file.open("a") as lines:
        lines.write("".join(f"{json.dumps(point)}\n" for point in points))


def read_points(file: Path, start: int = 0) -> Iterator[tuple[list[Point], int]]:
    """Points of a file from a place on, at most :data:`BATCH` at once, each batch with the place where it ends.

    A last line that is being written, or whose writer was killed, is left.
    """
    if not file.exists():
        return
    with file.open("rb") as lines:
        lines.seek(start)
        while batch := list(islice(iter(lines.readline, b""), BATCH)):
            whole = batch if batch[-1].endswith(b"\n") else batch[:-1]
            start += sum(map(len, whole))
            if whole:
                yield [point for line in whole if (point := _written(line))], start
            if len(whole) < len(batch):  # its rest may be there by now, and is no line
                return


def _written(line: bytes) -> Point | None:
    """A line as :func:`write_points` writes it; None where the disk was full in its middle."""
    try:
        return Point(*json.loads(line))
    except (ValueError, TypeError):
        log.warning("a damaged point is left out: %s", line[:200])
        return None


class Tail:
    """Follows a file of lines that a container writes; what is not a point is passed over with a warning.

    :param most: bytes of the file that are read; the rest is left, with a warning.
    """

    def __init__(self, file: Path, most: int = _MOST_BYTES) -> None:
        self.file = file
        self.most = most
        self.passed_over = 0
        self._read = 0
        self._within_long_line = False
        self._full = False

    def batches(self) -> Iterator[list[Point]]:
        """What is new since the last call, at most :data:`BATCH` points at once: a million lines fill no memory.

        :raises Refused: it is a link, a pipe or anything else but a file.
        """
        batch: list[Point] = []
        for point in self._new():
            batch.append(point)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _new(self) -> Iterator[Point]:
        try:
            with untrusted.opened(self.file.parent, self.file.name) as lines:
                yield from self._points(lines)
        except FileNotFoundError:  # not yet
            return

    def _points(self, lines: BinaryIO) -> Iterator[Point]:
        if lines.seek(0, 2) < self._read:  # written anew
            self._read = 0
            self._within_long_line = False
        lines.seek(self._read)
        while line := lines.readline(_LONGEST_LINE):
            whole = line.endswith(b"\n")
            if not whole and len(line) < _LONGEST_LINE:  # still being written
                return
            if self._read + len(line) > self.most:
                self._say_full()
                return
            self._read += len(line)
            rest, self._within_long_line = self._within_long_line, not whole
            if rest:  # of a line that was passed over
                continue
            try:
                yield parse(line, int(time.time() * 1000))
            except (ValueError, RecursionError) as error:  # the latter: brackets in brackets in brackets
                self._pass_over(line, error)

    def _say_full(self) -> None:
        if not self._full:
            log.warning("live lines: only the first %s of %s are read", untrusted.bytes_of(self.most), self.file.name)
        self._full = True

    def _pass_over(self, line: bytes, error: Exception) -> None:
        self.passed_over += 1
        if self.passed_over <= _WARNINGS:
            more = "; further ones are passed over silently" if self.passed_over == _WARNINGS else ""
            log.warning("live line passed over, it is not {step, name, value}: %s (%s)%s", line[:200], error, more)
