"""A stage's output as it comes, line by line, in the task's log: in little memory, however much it prints."""

import codecs
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_ENDS = re.compile(r"\r\n|\n|\r(?!$)")
"""Ends of lines; a carriage return at the very end may be half of one."""
_CURSOR = re.compile(r"\x1b\[[0-9;]*[A-HJKSTf]")
"""What moves the cursor in a terminal; colours are left to Airflow's page."""
_LONGEST = 16_384
_PROGRESS_SECONDS = 5.0


class Output:
    """Follows a container's output. Keeps the last lines only; Airflow's Docker operator keeps all of them.

    :param say: called with each line.
    :param keep: how many of the last lines are kept for an error's message.
    :param clock: seconds; a progress bar that redraws its line is told of once in five.
    """

    def __init__(self, say: Callable[[str], Any], keep: int = 15, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: deque[str] = deque(maxlen=keep)
        self._say = say
        self._clock = clock
        self._told = float("-inf")

    def instead_of(self, attach: Callable[..., Iterable[bytes]]) -> Callable[..., Iterator[bytes]]:
        """Docker's ``attach``, read here, so that whoever calls it gets nothing to keep."""
        return lambda *args, **kwargs: self.follow(attach(*args, **kwargs))

    def follow(self, stream: Iterable[bytes]) -> Iterator[bytes]:
        """Say every line of ``stream``; yields nothing."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        for chunk in stream:
            rest = self._pieces(rest + decoder.decode(chunk))
        self._line(rest)
        yield from ()

    def _pieces(self, text: str) -> str:
        """Say the lines that are complete; returns what is not."""
        start = 0
        for end in _ENDS.finditer(text):
            piece = text[start : end.start()]
            if end[0] == "\r":
                self._progress(piece)
            else:
                self._line(piece, blank=True)
            start = end.end()
        rest = text[start:]
        if len(rest) > _LONGEST:
            self._line(rest)
            return ""
        return rest

    def _progress(self, piece: str) -> None:
        """A line that is about to be redrawn."""
        if self._clock() - self._told >= _PROGRESS_SECONDS and piece.strip():
            self._told = self._clock()
            self._line(piece)

    def _line(self, text: str, blank: bool = False) -> None:
        line = _CURSOR.sub("", text).rstrip()
        if line or blank:
            self._say(line)
            self.last.append(line)
