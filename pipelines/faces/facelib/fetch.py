"""Files on the web: fetched politely, tried again, bounded in size and time, not fetched twice after a break."""

import hashlib
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import Retry

from facelib.addresses import PublicOnly
from facelib.inbox import Missing

Item = TypeVar("Item")
Result = TypeVar("Result")

_AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another try may succeed."""
_REASONS = {401: "forbidden", 403: "forbidden", 404: "not_found", 410: "not_found"}
_CHUNK = 1 << 16
_DIGEST = 64
"""Letters of a SHA-256."""


class Fetcher:
    """Fetches URLs from several threads.

    :param max_bytes: a larger file is refused.
    :param timeout: seconds without a byte after which a try has failed.
    :param max_seconds: for one file, all its tries together.
    :param retries: tries after the first.
    :param backoff: seconds before the second try; doubled for each one after it. A server's Retry-After counts more.
    :param rate: requests a second to one host.
    :param allow_private: also from addresses that are not on the public internet.
    :param scratch: folder that keeps what was fetched for another try of the same run; None keeps nothing.
    """

    def __init__(
        self,
        max_bytes: int,
        timeout: float,
        max_seconds: float,
        retries: int,
        backoff: float,
        rate: float,
        allow_private: bool,
        scratch: Path | None = None,
    ) -> None:
        self.max_bytes, self.timeout, self.max_seconds = max_bytes, timeout, max_seconds
        self.retries, self.backoff = retries, backoff
        self.allow_private, self.scratch = allow_private, scratch
        self._polite = _Turns(1 / rate)
        self._local = threading.local()

    def fetch(self, url: str, sha256: str | None = None) -> tuple[bytes, str]:
        """The content of a URL and its SHA-256.

        :param sha256: the one it must have, if that is known; without it a web page is refused, which is what a login
            or an access point answers in place of a file.

        Raises Missing: not_found, forbidden, http_error, too_large, empty, timeout, unreachable, private_address,
        changed, web_page.
        """
        kept = self.scratch / hashlib.sha256(url.encode()).hexdigest() if self.scratch else None
        if kept and (found := _kept(kept, self.max_bytes)) and sha256 in (None, found[1]):
            return found
        data = self._get(url)
        if not data:
            raise Missing("empty", "the answer has no bytes")
        digest = hashlib.sha256(data).hexdigest()
        if sha256 not in (None, digest):
            raise Missing("changed", "other bytes than the list says")
        if not sha256 and _is_page(data):
            raise Missing("web_page", "a web page came in place of the file")
        if kept:
            _keep(kept, data, digest)
        return data, digest

    def _get(self, url: str) -> bytes:
        try:
            host = urlsplit(url).netloc
        except ValueError as error:
            raise Missing("unreachable", str(error)) from None
        deadline = time.monotonic() + self.max_seconds
        attempt = 0
        while True:
            deadline += self._polite.wait(host)  # it is not the file's fault
            try:
                return self._try(url, deadline)
            except _Again as again:
                wait = max(again.after, self.backoff * 2**attempt)
                attempt += 1
                if attempt > self.retries or time.monotonic() + wait > deadline:
                    raise Missing(again.reason, f"{again.detail}, tried {attempt} times") from None
                time.sleep(wait)

    def _try(self, url: str, deadline: float) -> bytes:
        try:
            with self._session.get(url, stream=True, timeout=self.timeout) as answer:
                if answer.status_code in _AGAIN:
                    raise _Again("http_error", f"HTTP {answer.status_code}", Retry().get_retry_after(answer.raw) or 0)
                if answer.status_code != 200:
                    raise Missing(_REASONS.get(answer.status_code, "http_error"), f"HTTP {answer.status_code}")
                return self._body(answer, deadline)
        except (requests.Timeout, ReadTimeoutError):
            raise _Again("timeout", f"no byte in {self.timeout:g} s") from None
        except (requests.ConnectionError, HTTPError) as error:  # requests hides the time-out of an answer's first byte
            if "timed out" in str(error):
                raise _Again("timeout", f"no byte in {self.timeout:g} s") from None
            raise _Again("unreachable", "no connection, or one that broke off") from None
        except (requests.RequestException, ValueError) as error:
            raise Missing("unreachable", type(error).__name__) from None

    def _body(self, answer: requests.Response, deadline: float) -> bytes:
        length = answer.raw.length_remaining or 0
        if length > self.max_bytes:
            raise Missing("too_large", f"{length} bytes, allowed are {self.max_bytes}")
        data = bytearray()
        # What is there, not a whole chunk: a server that drips must not keep us beyond the deadline.
        while chunk := answer.raw.read1(_CHUNK, decode_content=True):
            data += chunk
            if len(data) > self.max_bytes:
                raise Missing("too_large", f"more than the allowed {self.max_bytes} bytes")
            if time.monotonic() > deadline:
                raise Missing("timeout", f"not whole after {self.max_seconds:g} s")
        return bytes(data)

    @property
    def _session(self) -> requests.Session:
        """A thread's own: requests does not promise that one may be shared."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            if not self.allow_private:
                for scheme in ("http://", "https://"):
                    self._local.session.mount(scheme, PublicOnly())
            self._local.session.headers["User-Agent"] = "reprise-download"
        return self._local.session  # type: ignore[no-any-return]


class _Again(Exception):
    """A try failed in a way that another may not; `after` seconds, says the server."""

    def __init__(self, reason: str, detail: str, after: float = 0) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.after = reason, detail, after


class _Turns:
    """Makes the threads wait so that requests to one host start at least `apart` seconds apart."""

    def __init__(self, apart: float) -> None:
        self.apart = apart
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, host: str) -> float:
        """Return when it is this request's turn: seconds waited."""
        with self._lock:
            turn = max(time.monotonic(), self._next.get(host, 0))
            self._next[host] = turn + self.apart
        left = max(0.0, turn - time.monotonic())
        time.sleep(left)
        return left


def _is_page(data: bytes) -> bool:
    """Whether it is HTML: no image begins as that does."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def _keep(file: Path, data: bytes, digest: str) -> None:
    """Put a file in place behind its digest, which tells a whole one from one that a crash cut off.

    It only ever saves time: a full disk is no reason to fail.
    """
    with suppress(OSError):
        handle, part = tempfile.mkstemp(dir=file.parent)
        with open(handle, "wb") as out:
            out.write(digest.encode() + data)
        os.replace(part, file)


def _kept(file: Path, max_bytes: int) -> tuple[bytes, str] | None:
    """What :func:`_keep` put there and its digest; None if there is none, or something else."""
    if not file.is_file() or file.stat().st_size > max_bytes + _DIGEST:
        return None
    content = file.read_bytes()
    digest, data = content[:_DIGEST].decode(errors="replace"), content[_DIGEST:]
    return (data, digest) if hashlib.sha256(data).hexdigest() == digest else None


def in_order(call: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Like `map` in a pool of threads, but with no more than twice as many results waiting as there are threads."""
    left = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque(pool.submit(call, item) for item in islice(left, 2 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(call, item) for item in islice(left, 1))
