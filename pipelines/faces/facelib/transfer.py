"""One large file from the web to the disk: goes on after a break, bounded in size, says how far it is."""

import time
from dataclasses import dataclass
from pathlib import Path

import requests

_CHUNK = 1 << 18
_TRIES = 5
_TIMEOUT_SECONDS = 20
_LINE_SECONDS = 2.0
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another try may succeed."""


class TooLarge(requests.RequestException):
    """The file has more bytes than were allowed."""


class Replaced(requests.RequestException):
    """The server has another file than the one whose beginning is here."""


@dataclass(frozen=True)
class _Version:
    """What a server says of a file by which another one in its place is told; empty where it does not say."""

    etag: str = ""
    total: str = ""

    @classmethod
    def of(cls, answer: requests.Response, total: str) -> "_Version":
        return cls(answer.headers.get("ETag", ""), total.strip("*"))

    def differs(self, other: "_Version") -> bool:
        pairs = ((self.etag, other.etag), (self.total, other.total))
        return any(one and two and one != two for one, two in pairs)


def fetch(url: str, part: Path, who: str, max_bytes: int) -> None:
    """Append to `part` what is missing of the file at `url`; go on where the connection breaks off.

    A file that was replaced meanwhile is fetched from its beginning. Nobody can tell whether what an earlier call left
    in `part` is a beginning of the same file: hold the whole against its checksum.

    :param who: the beginning of the lines that say how far it is.
    Raises requests.RequestException where nothing comes any more (`part` keeps what has come), where there is no such
    file, or where it is larger than `max_bytes` or always another (nothing is kept).
    """
    tries = replaced = 0
    whole = _Whole(url, part, who, max_bytes)
    while True:
        there = part.stat().st_size if part.exists() else 0
        try:
            return whole.append(there)
        except TooLarge:
            part.unlink(missing_ok=True)
            raise
        except Replaced:
            part.unlink(missing_ok=True)
            replaced += 1
            if replaced >= _TRIES:
                raise
        except requests.RequestException as error:
            came = part.exists() and part.stat().st_size > there
            tries = 0 if came else tries + 1
            nobody_answers = error.response is None and not there and not came
            if not _may_pass(error) or tries >= (2 if nobody_answers else _TRIES):
                raise
            time.sleep(min(0.5 * 2**tries, 30))


def short(error: requests.RequestException) -> str:
    """Why a fetch failed, without the library's words."""
    if error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, TooLarge | Replaced):
        return str(error)
    return "no answer in time" if isinstance(error, requests.Timeout) else "no connection"


def _may_pass(error: requests.RequestException) -> bool:
    if error.response is not None:
        return error.response.status_code in _AGAIN
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


@dataclass
class _Whole:
    """The file that is being fetched."""

    url: str
    part: Path
    who: str
    max_bytes: int
    version: _Version = _Version()

    def append(self, there: int) -> None:
        """Ask for what follows the first `there` bytes, and write it behind them."""
        headers = {"Accept-Encoding": "identity"}  # else lengths and ranges would be those of a compressed copy
        if there:
            headers["Range"] = f"bytes={there}-"
            if self.version.etag and not self.version.etag.startswith("W/"):
                headers["If-Range"] = self.version.etag
        with requests.get(self.url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
            if there and answer.status_code in (206, 416):
                given, _, total = answer.headers.get("Content-Range", "").partition("/")
                if answer.status_code == 416 and total == str(there):  # nothing is missing
                    return
                if not given.startswith(f"bytes {there}-") or self.version.differs(_Version.of(answer, total)):
                    raise Replaced("the file was replaced while it was fetched")
                return self._write(answer, there, "ab")
            answer.raise_for_status()
            self.version = _Version.of(answer, answer.headers.get("Content-Length", ""))
            self._write(answer, 0, "wb")

    def _write(self, answer: requests.Response, done: int, mode: str) -> None:
        total = done + int(answer.headers.get("Content-Length") or 0)
        said = time.monotonic()
        with self.part.open(mode) as file:
            for chunk in answer.iter_content(_CHUNK):
                done += len(chunk)
                if max(done, total) > self.max_bytes:
                    raise TooLarge(f"larger than the allowed {self.max_bytes:,} bytes")
                file.write(chunk)
                if time.monotonic() - said > _LINE_SECONDS:
                    said = time.monotonic()
                    print(f"{self.who}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", flush=True)
