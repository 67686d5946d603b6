"""How far a stage has come: now and then a plain line, which every log can show."""

import time

SECONDS_BETWEEN_LINES = 2.0


class Progress:
    """Counts finished items; prints `detect 2026-11-01: 320/1399 images, 41/s, 26 s left`."""

    def __init__(self, stage: str, total: int, unit: str = "images") -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self._start = self._last = time.monotonic()

    def step(self, partition: str, count: int = 1) -> None:
        """Note that `count` more items of `partition` are done."""
        self.done += count
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            rate = self.done / (now - self._start)
            left = (self.total - self.done) / rate
            print(
                f"{self.stage} {partition}: {self.done}/{self.total} {self.unit}, {rate:.0f}/s, {left:.0f} s left",
                flush=True,
            )

    def finish(self, result: str) -> None:
        """Print the last line: what came out, and how fast."""
        seconds = time.monotonic() - self._start
        rate = self.done / max(seconds, 1e-9)
        print(f"{self.stage}: {self.done} {self.unit} in {seconds:.1f} s ({rate:.0f}/s); {result}", flush=True)
