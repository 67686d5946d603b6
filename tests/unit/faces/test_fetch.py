"""Fetching from a web that is slow, busy, broken and full of holes."""

import sys
import time
from pathlib import Path

import pytest
from web import web

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib.fetch import Fetcher, in_order
from facelib.inbox import Missing


def fetcher(scratch: Path | None = None, **given: float) -> Fetcher:
    limits = {"max_bytes": 1000, "timeout": 5, "max_seconds": 20, "retries": 3, "backoff": 0.01, "rate": 1000, **given}
    return Fetcher(scratch=scratch, **limits)  # type: ignore[arg-type]


def refused(url: str, **given: float) -> Missing:
    with pytest.raises(Missing) as missing:
        fetcher(**given).fetch(url)
    return missing.value


def test_what_fails_for_a_moment_is_fetched_all_the_same() -> None:
    with web({"busy/a": b"a", "broken/b": b"bb" * 100}) as there:
        start = time.monotonic()
        assert fetcher().fetch(f"{there.url}/busy/a") == b"a"
        assert time.monotonic() - start >= 1, "Retry-After asks for a second"
        assert fetcher().fetch(f"{there.url}/broken/b") == b"bb" * 100
        assert there.asked == {"busy/a": 3, "broken/b": 2}


def test_what_stays_wrong_has_a_reason_and_is_not_asked_for_again() -> None:
    with web({"large": b"x" * 2000, "endless/large": b"x" * 2000, "nothing": b"", "slow/s": b"s" * 10}) as there:
        assert refused(f"{there.url}/nowhere").reason == "not_found"
        assert refused(f"{there.url}/forbidden/x").reason == "forbidden"
        assert refused(f"{there.url}/large").reason == refused(f"{there.url}/endless/large").reason == "too_large"
        assert refused(f"{there.url}/nothing").reason == "empty"
        assert set(there.asked.values()) == {1}
        slow = refused(f"{there.url}/slow/s", timeout=0.2, retries=1)
        assert (slow.reason, slow.detail) == ("timeout", "no byte in 0.2 s, tried 2 times")
        assert there.asked["slow/s"] == 2
    assert refused(f"{there.url}/gone", retries=1).reason == "unreachable"


def test_waiting_ends_with_the_time_for_a_file() -> None:
    with web({"busy/a": b"a"}) as there:
        start = time.monotonic()
        assert refused(f"{there.url}/busy/a", max_seconds=0.5).detail == "HTTP 503, tried 1 times"
        assert time.monotonic() - start < 0.5


def test_a_file_that_drips_does_not_hold_us_for_ever() -> None:
    with web({"drip/a": b"a" * 100}) as there:
        start = time.monotonic()
        assert refused(f"{there.url}/drip/a", max_seconds=0.5).detail == "not whole after 0.5 s"
        assert time.monotonic() - start < 3


def test_what_is_no_address_is_refused() -> None:
    assert refused("http://[::1/a").reason == refused(f"http://{'a' * 80}.example/").reason == "unreachable"


def test_a_host_is_not_asked_more_often_than_the_rate() -> None:
    with web({str(n): b"x" for n in range(6)}) as there:
        polite = fetcher(rate=20, max_seconds=0.1)  # waiting for one's turn does not count
        assert list(in_order(polite.fetch, [f"{there.url}/{n}" for n in range(6)], 6)) == [b"x"] * 6
        assert max(there.times) - min(there.times) >= 5 / 20 - 0.03


def test_after_a_break_nothing_is_fetched_twice(tmp_path: Path) -> None:
    with web({"a": b"a", "b": b"b"}) as there:
        fetcher(tmp_path).fetch(f"{there.url}/a")
        again = fetcher(tmp_path)
        assert (again.fetch(f"{there.url}/a"), again.fetch(f"{there.url}/b")) == (b"a", b"b")
        assert there.asked == {"a": 1, "b": 1}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


def test_results_come_in_order_and_few_wait() -> None:
    started: list[int] = []

    def call(number: int) -> int:
        started.append(number)
        time.sleep(0.02 if number == 0 else 0)
        return number

    results = in_order(call, range(100), 2)
    assert next(results) == 0
    assert len(started) <= 5
    assert list(results) == list(range(1, 100))
