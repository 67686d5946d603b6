"""One large file from the web to the disk: goes on after a break, bounded in size, says how far it is."""

import time
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


def fetch(url: str, part: Path, who: str, max_bytes: int) -> None:
    """Append to `part` what is missing of the file at `url`; go on where the connection breaks off.

    :param who: the beginning of the lines that say how far it is.
    Raises requests.RequestException where nothing comes any more (`part` keeps what has come), where there is no such
    file, or where it is larger than `max_bytes` (nothing is kept).
    """
    tries = 0
    while True:
        there = part.stat().st_size if part.exists() else 0
        try:
            return _append(url, part, there, who, max_bytes)
        except TooLarge:
            part.unlink(missing_ok=True)
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
    if isinstance(error, TooLarge):
        return str(error)
    return "no answer in time" if isinstance(error, requests.Timeout) else "no connection"


def _may_pass(error: requests.RequestException) -> bool:
    if error.response is not None:
        return error.response.status_code in _AGAIN
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def _append(url: str, part: Path, there: int, who: str, max_bytes: int) -> None:
    headers = {"Accept-Encoding": "identity"}  # else lengths and ranges would be those of a compressed copy
    if there:
        headers["Range"] = f"bytes={there}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if answer.status_code == 416:  # nothing beyond: it is whole, or another file
            return
        answer.raise_for_status()
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        done = there if goes_on else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        said = time.monotonic()
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                done += len(chunk)
                if max(done, total) > max_bytes:
                    raise TooLarge(f"larger than the allowed {max_bytes:,} bytes")
                file.write(chunk)
                if time.monotonic() - said > _LINE_SECONDS:
                    said = time.monotonic()
                    print(f"{who}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", flush=True)
