"""A server of files on the loopback that behaves as badly as the web does."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """What was asked for and when, and how many bytes each answer promised."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.sent: list[int] = []
        self.url = ""


@contextmanager
def web(files: dict[str, bytes]) -> Iterator[Web]:
    """Serve files by name. The name's first part says how: ``busy`` twice 503 with Retry-After, ``broken`` breaks off
    once, ``slow`` stops half way, ``drip`` sends a byte at a time, ``forbidden`` 403, anything else as it is,
    from where a Range asks for it; what is not there is 404."""
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            state.asked[name] += 1
            state.times.append(time.monotonic())
            first = name.split("/")[0]
            if first == "busy" and state.asked[name] <= 2:
                self.send_response(503)
                self.send_header("Retry-After", "1" if state.asked[name] == 1 else "0")
                self.end_headers()
            elif first == "forbidden":
                self.send_error(403)
            elif name not in files:
                self.send_error(404)
            else:
                self._send(first, files[name], state.asked[name])

        def _send(self, first: str, data: bytes, time_asked: int) -> None:
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            state.sent.append(len(data) - start)
            data = data[start:]
            if first != "endless":
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            broken = first == "broken" and time_asked == 1
            if first == "drip":
                with suppress(OSError):  # nobody waits for the end
                    for byte in data:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.1)
                return
            self.wfile.write(data[: len(data) // 2] if broken or first == "slow" else data)
            if first == "slow":
                self.wfile.flush()
                time.sleep(2)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
