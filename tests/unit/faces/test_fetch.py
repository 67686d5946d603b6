"""Fetching from a web that is slow, busy, broken, full of holes, and leads where it should not."""

import hashlib
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web import web

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "pipelines" / "faces"))

from facelib import addresses
from facelib.fetch import Fetcher, in_order
from facelib.inbox import Missing


def fetcher(scratch: Path | None = None, allow_private: bool = True, **given: float) -> Fetcher:
    limits = {"max_bytes": 1000, "timeout": 5, "max_seconds": 20, "retries": 3, "backoff": 0.01, "rate": 1000, **given}
    return Fetcher(scratch=scratch, allow_private=allow_private, **limits)  # type: ignore[arg-type]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def refused(url: str, digest: str | None = None, scratch: Path | None = None, **given: float) -> Missing:
    with pytest.raises(Missing) as missing:
        fetcher(scratch, **given).fetch(url, digest)
    return missing.value


def test_what_fails_for_a_moment_is_fetched_all_the_same() -> None:
    with web({"busy/a": b"a", "broken/b": b"bb" * 100}) as there:
        start = time.monotonic()
        assert fetcher().fetch(f"{there.url}/busy/a") == (b"a", sha256(b"a"))
        assert time.monotonic() - start >= 1, "Retry-After asks for a second"
        assert fetcher().fetch(f"{there.url}/broken/b")[0] == b"bb" * 100
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
        fetched = in_order(polite.fetch, [f"{there.url}/{n}" for n in range(6)], 6)
        assert [data for data, _ in fetched] == [b"x"] * 6
        assert max(there.times) - min(there.times) >= 5 / 20 - 0.03


def test_after_a_break_nothing_is_fetched_twice(tmp_path: Path) -> None:
    with web({"a": b"a", "b": b"b"}) as there:
        fetcher(tmp_path).fetch(f"{there.url}/a")
        again = fetcher(tmp_path)
        assert (again.fetch(f"{there.url}/a")[0], again.fetch(f"{there.url}/b")[0]) == (b"a", b"b")
        assert there.asked == {"a": 1, "b": 1}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp")]


PORTAL = b"<!DOCTYPE html>\n<html><title>Welcome to the hotel</title>"


def test_what_was_kept_is_held_against_the_digest_before_it_is_used_again(tmp_path: Path) -> None:
    with web({"a": b"a"}) as there:
        fetcher(tmp_path).fetch(f"{there.url}/a")  # of a list without digests
        there.files = {"a": b"right"}
        assert fetcher(tmp_path).fetch(f"{there.url}/a", sha256(b"right"))[0] == b"right"
        assert fetcher(tmp_path).fetch(f"{there.url}/a", sha256(b"right"))[0] == b"right"
        assert there.asked == {"a": 2}


def test_what_the_list_does_not_mean_is_not_kept(tmp_path: Path) -> None:
    with web({"a": PORTAL}) as there:
        assert refused(f"{there.url}/a", sha256(b"a"), tmp_path).reason == "changed"
        there.files = {"a": b"a"}
        assert fetcher(tmp_path).fetch(f"{there.url}/a", sha256(b"a"))[0] == b"a"


def test_a_captive_portal_is_not_taken_for_the_file(tmp_path: Path) -> None:
    pages = [PORTAL, b"\xef\xbb\xbf \r\n<HTML lang=en>"]
    for page in pages:
        with web({"a": page}) as there:
            assert refused(f"{there.url}/a", scratch=tmp_path).reason == "web_page"
            assert fetcher(tmp_path).fetch(f"{there.url}/a", sha256(page))[0] == page, "it is what the list means"
            there.files = {"a": b"a"}
            assert fetcher(tmp_path / "another run").fetch(f"{there.url}/a")[0] == b"a"


@pytest.mark.parametrize("torn", [b"", b"a", bytes(64), bytes(65), sha256(b"a").encode()])
def test_what_a_crash_left_half_written_is_fetched_again(tmp_path: Path, torn: bytes) -> None:
    with web({"a": b"a"}) as there:
        url = f"{there.url}/a"
        fetcher(tmp_path).fetch(url)
        [kept] = tmp_path.iterdir()
        kept.write_bytes(torn)
        assert fetcher(tmp_path).fetch(url)[0] == fetcher(tmp_path).fetch(url)[0] == b"a"
        assert there.asked == {"a": 2}


PRIVATE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.8.8.8", "169.254.169.254"),
    *("172.16.0.1", "172.17.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1", "64:ff9b::a00:1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::", "3fff::1"),
    *("5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"]


def test_which_addresses_are_public() -> None:
    assert [address for address in PRIVATE if addresses.is_public(address)] == []
    assert [address for address in PUBLIC if not addresses.is_public(address)] == []


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_as_what_wraps_it(address: object) -> None:
    public = addresses.is_public(str(address))
    assert addresses.is_public(f"::ffff:{address}") == addresses.is_public(f"64:ff9b::{address}") == public
    assert not addresses.is_public(f"::{address}")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "0", "[::1]"],
)
def test_a_list_does_not_lead_to_this_machine_however_its_address_is_written(host: str) -> None:
    with web({"a": b"secret"}) as there:
        missing = refused(f"http://{host}:{there.server_port}/a", allow_private=False)
        assert missing.reason == "private_address" and "download.allow_private" in missing.detail
        tls = refused(f"https://{host}:{there.server_port}/a", allow_private=False)
        assert (tls.reason, there.connected) == ("private_address", 0)
        if ":" not in host:
            assert fetcher().fetch(f"http://{host}:{there.server_port}/a")[0] == b"secret"


def test_a_certificate_is_asked_for_by_the_name_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        hello = pool.submit(lambda: server.accept()[0].recv(4096))
        url = f"https://localhost:{server.getsockname()[1]}/a"
        assert refused(url, allow_private=False, retries=0).reason == "unreachable"
        assert b"localhost" in hello.result()


def test_a_redirect_does_not_lead_where_the_list_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    with web({"a": b"a"}) as there:
        there.files |= {
            "moved/here": f"{there.url}/a".encode(),
            "moved/private": f"http://127.0.0.2:{there.server_port}/a".encode(),
            "moved/twice": f"{there.url}/moved/private".encode(),
            "moved/cloud": b"http://169.254.169.254/latest/meta-data/",
            "moved/file": b"file:///etc/passwd",
        }
        strict = fetcher(allow_private=False)
        assert strict.fetch(f"http://localhost:{there.server_port}/moved/here")[0] == b"a", "and it is not too strict"
        for name in ("private", "twice", "cloud"):
            assert refused(f"{there.url}/moved/{name}", allow_private=False).reason == "private_address"
        assert refused(f"{there.url}/moved/file", allow_private=False).reason == "unreachable"
        assert there.asked["a"] == 1


def test_a_name_that_leads_elsewhere_the_second_time_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, answers = socket.getaddrinfo, ["198.51.100.1", "127.0.0.1"]

    def resolve(host: str, *args: object, **kwargs: object) -> object:
        return real(answers.pop(0) if host == "rebind.test" else host, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "198.51.100.1")
    with web({"a": b"secret"}) as there:
        url = f"http://rebind.test:{there.server_port}/a"
        missing = refused(url, allow_private=False, timeout=0.3, retries=0)
        assert missing.reason in ("timeout", "unreachable") and answers == ["127.0.0.1"]
        assert refused(url, allow_private=False).reason == "private_address"
        assert there.connected == 0


def test_a_proxy_of_the_environment_is_used_but_not_for_private_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with web({"http://files.invalid/a": b"by the proxy"}) as there:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, there.url)
        assert fetcher(allow_private=False).fetch("http://files.invalid/a")[0] == b"by the proxy"
        for private in ("http://169.254.169.254/a", "http://[::ffff:10.0.0.1]/a"):
            assert refused(private, allow_private=False).reason == "private_address"
        assert there.connected == 1


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
