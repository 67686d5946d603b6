"""What the tests of tracking share: a stage's line, an MLflow that can be away, an outbox to fill."""

import json
from pathlib import Path
from typing import Any

import pytest

from reprise.errors import RepriseError, ServerAway
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Tracker, bare_heading
from reprise.tracking.outbox import Outbox


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(var=tmp_path / "var")


def line(step: Any = 1, name: Any = "loss", value: Any = 0.5, **more: Any) -> str:
    return json.dumps({"step": step, "name": name, "value": value, **more}) + "\n"


class Server(Tracker):
    """MLflow as far as an outbox knows it; it can be away, and it can die between taking a batch and saying so."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.away = False
        self.said: list[tuple[Any, ...]] = []
        self.dies_after = -1

    def _answer(self, *said: Any) -> Any:
        if self.away:
            raise ServerAway("away", "wait")
        self.said.append(said)
        self.dies_after -= 1
        if self.dies_after == 0:
            self.away = True
            raise ServerAway("died", "wait")
        return f"id-{said[1]}"

    def dag_run(self, heading: Any) -> str:
        return str(self._answer("dag_run", heading["name"]))

    def known(self, heading: Any) -> Any:
        self._answer("known", heading["name"])
        return None

    def stage_run(self, parent: str, name: str, tags: Any, started: int) -> str:
        return str(self._answer("stage_run", name))

    def metrics(self, run: str, points: Any, prefix: str = "") -> None:
        if any(p.name == "refused" for p in points):
            raise RepriseError("refused", "no way")
        self._answer("metrics", run, prefix, [p.step for p in points])

    def artifact(self, run: str, file: Path, path: str) -> None:
        self._answer("artifact", run, path, file.read_bytes())

    def model(self, run: str, name: str, file: Path, md5: str, description: str) -> str:
        if name == "refused":
            raise RepriseError("refused", "no way")
        self._answer("model", name, md5, file.read_bytes())
        return "7"

    def tags(self, run: str, tags: Any) -> None:
        self._answer("tags", run, tags)

    def datasets(self, run: str, hashes: Any) -> None:
        self._answer("datasets", run)

    def end(self, run: str, status: str, ended: int) -> None:
        self._answer("end", run, status)

    def finish(self, run: str, status: str, ended: int) -> None:
        self._answer("finish", run, status)


def stage_box(settings: Settings) -> Outbox:
    return Outbox.create(settings, bare_heading("words", "words", "run-1"), "rank", {"try": "1"})
