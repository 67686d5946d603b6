"""A server of files on this machine that behaves as badly as the web does."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web(ThreadingHTTPServer):
    """Serves files by name, and remembers what was asked for and when, and how many bytes each answer promised.

    The name's first part says how: ``busy`` twice 503 with Retry-After, ``broken`` breaks off once, ``slow`` stops half
    way, ``drip`` sends a byte at a time, ``endless`` does not say how much comes, ``forbidden`` 403, ``moved`` leads to
    the URL that the file holds, ``replaced`` breaks off once and has other content then, which ``tagged`` shows by an ETag.
    Anything else comes as it is, from where a Range asks for it; what is not there is 404.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes], address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.files = dict(files)
        self.connected = 0
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.sent: list[int] = []
        self.url = f"http://{address}:{self.server_port}"

    def verify_request(self, request: object, client_address: object) -> bool:
        """Count connections, those included over which nothing is asked."""
        self.connected += 1
        return True


@contextmanager
def web(files: Mapping[str, bytes], address: str = "127.0.0.1") -> Iterator[Web]:
    """Serve ``files`` as :class:`Web` does, until the block ends."""
    with Web(files, address) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked[name] += 1
        self.server.times.append(time.monotonic())
        kind, times_asked = name.split("/")[0], self.server.asked[name]
        if kind == "busy" and times_asked <= 2:
            self.send_response(503)
            self.send_header("Retry-After", "1" if times_asked == 1 else "0")
            self.end_headers()
        elif kind == "forbidden":
            self.send_error(403)
        elif name not in self.server.files:
            self.send_error(404)
        elif kind == "moved":
            self.send_response(302)
            self.send_header("Location", self.server.files[name].decode())
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            whole = self.server.files[name]
            if kind in ("replaced", "tagged") and times_asked == 1:
                whole = b"?" * (len(whole) + (kind == "replaced"))
            self._body(kind, self._head(kind, whole), times_asked)

    def _head(self, kind: str, whole: bytes) -> bytes:
        """Send the headers; returns the bytes that are asked for."""
        start, tag = int(self.headers.get("Range", "bytes=0-")[6:-1]), f'"{hash(whole)}"'
        if self.headers.get("If-Range", tag) != tag:
            start = 0
        if start >= len(whole) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(whole)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(206 if start else 200)
        if kind == "tagged":
            self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.server.sent.append(len(whole) - start)
        if kind != "endless":
            self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        return whole[start:]

    def _body(self, kind: str, data: bytes, times_asked: int) -> None:
        if kind == "drip":
            with suppress(OSError):  # nobody waits for the end
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
            return
        half = kind == "slow" or (kind in ("broken", "replaced", "tagged") and times_asked == 1)
        self.wfile.write(data[: len(data) // 2] if half else data)
        if kind == "slow":
            self.wfile.flush()
            time.sleep(2)

    def log_message(self, *args: object) -> None:
        """Quiet."""
