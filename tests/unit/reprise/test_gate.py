"""Who becomes champion: what open pins, and what the gate does with the comparison."""

import datetime as dt
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from reprise import git, workspace
from reprise.errors import BadInput, RepriseError, ServerAway
from reprise.messages import Champion, Recorded
from reprise.pipeline import manifest
from reprise.pipeline.stages import Artifact, Meta, Out, Pipeline, Stage
from reprise.run import champion, gate, opening
from reprise.settings import Settings
from reprise.workspace import Workspace

PIPELINE = Pipeline(
    "p",
    (
        Stage("make", ("true",), outs=(Out("m/model.onnx"),)),
        Stage("compare", ("true",), deps=("champion", "m/model.onnx"), upstream=("make",), meta=Meta(champion="net")),
    ),
    (Artifact("net", "m/model.onnx", "model"),),
)
YES = {"promote": True, "reason": "so"}
OLD = {"name": "net", "version": "1", "md5": "old"}


class Registry:
    """Stands for MLflow's registry; the system tests meet the real one."""

    uri = "http://mlflow"

    def __init__(self, held: dict[str, str] | None) -> None:
        self.held = held
        self.trouble: RepriseError | None = None
        self.said: dict[str, str] = {}

    def alias(self, name: str, alias: str) -> dict[str, str] | None:
        assert (name, alias) == ("net", "champion")
        return self.held

    def move_alias(self, name: str, alias: str, version: str, tags: Mapping[str, str]) -> None:
        if self.trouble:
            raise self.trouble
        self.held = {"version": version, **tags}

    def try_tags(self, run: str, tags: Mapping[str, str]) -> None:
        self.said = dict(tags)


def test_open_pins_the_champion_its_absence_or_nothing() -> None:
    assert champion.pin(Registry({"version": "1", "md5": "old"}), "net", past=False)["pin"] == OLD
    none = champion.pin(Registry({}), "net", past=False)
    assert (none["pin"], none["version"]) == ({}, "")
    away = champion.pin(Registry(None), "net", past=False)
    assert (away["pin"], away["version"]) == ({}, None)
    assert "MLflow" in away["why"]


def test_a_run_of_a_past_date_sees_no_champion() -> None:
    past = champion.pin(Registry({"version": "1", "md5": "old"}), "net", past=True)
    assert (past["pin"], past["version"]) == ({}, None)


def test_a_run_of_older_data_than_the_champions_is_past() -> None:
    """A scheduled run of last month that somebody clears."""
    registry = Registry({"version": "1", "md5": "old", champion.AS_OF: "2026-11-16T00:00:00+00:00"})
    days = {day: champion.pin(registry, "net", False, dt.datetime(2026, 11, day, tzinfo=dt.UTC)) for day in (9, 16, 23)}
    assert {day: pinned["version"] for day, pinned in days.items()} == {9: None, 16: "1", 23: "1"}
    assert "on newer data (2026-11-16T00:00)" in days[9]["why"]
    assert champion.pin(registry, "net", False, None)["version"] == "1"


def test_a_champion_of_unknown_bytes_is_refused() -> None:
    with pytest.raises(BadInput, match="version 7, which no run has registered"):
        champion.pin(Registry({"version": "7"}), "net", past=False)


def test_a_run_that_makes_the_champion_again_pins_what_that_won_against() -> None:
    held = {"version": "2", "md5": "new", champion.BEFORE: json.dumps(OLD)}
    pinned = champion.pin(Registry(held), "net", past=False)
    known = {"make": {"outs": [{"path": "m/model.onnx", "md5": "new"}]}}
    again = champion.before(Registry(held), pinned, PIPELINE, known)
    assert again is not None
    assert (again["pin"], again["version"]) == (OLD, "2")
    other = {"make": {"outs": [{"path": "m/model.onnx", "md5": "third"}]}}
    assert champion.before(Registry(held), pinned, PIPELINE, other) is None
    assert champion.before(Registry(held), pinned, PIPELINE, {}) is None


@pytest.mark.parametrize(
    ("version", "now", "promote", "verdict", "champion_then"),
    [
        ("", {}, True, "promoted", "2"),
        ("1", {"version": "1"}, True, "promoted", "2"),
        ("1", {"version": "1"}, False, "refused", "1"),
        ("2", {"version": "2"}, True, "unchanged", "2"),
        ("1", {"version": "3"}, True, "kept", "3"),  # another run was faster
        ("", {"version": "1"}, True, "kept", "1"),
        (None, {"version": "1"}, True, "kept", "1"),  # a backfill
        ("1", None, True, "kept", None),  # MLflow is away
    ],
)
def test_gate(
    monkeypatch: pytest.MonkeyPatch, version: str, now: dict | None, promote: bool, verdict: str, champion_then: str
) -> None:
    registry = Registry(now)
    monkeypatch.setattr(gate, "Tracker", lambda uri: registry)
    pinned = Champion(pin=OLD if version == "1" else {}, version=version, why="because")
    recorded = Recorded(
        commit="c",
        ref="r",
        metrics={},
        mlflow="m",
        models={"net": "2"},
        refused={},
        decision={"promote": promote, "reason": "so"},
    )
    judged = gate.judge(Settings(), "net", pinned, recorded, "run-1", "2026-11-23T00:00:00+00:00")
    assert judged["verdict"] == verdict
    assert (registry.held or {}).get("version") == champion_then
    assert registry.said["gate"] == verdict
    if verdict == "promoted":
        assert registry.held is not None
        assert json.loads(registry.held[champion.BEFORE]) == pinned["pin"]
        assert registry.held[champion.AS_OF] == "2026-11-23T00:00:00+00:00"


@pytest.mark.parametrize(
    ("models", "refused", "trouble", "reason"),
    [
        ({}, {"net": "it is not an ONNX file"}, None, "MLflow has not registered net: it is not an ONNX file"),
        ({}, {}, None, "MLflow did not answer"),
        ({"net": "2"}, {}, RepriseError("no such alias", ""), "the alias was not moved: no such alias"),
        ({"net": "2"}, {}, ServerAway("away", ""), "MLflow did not answer"),
    ],
)
def test_a_refusal_is_not_reported_as_an_absence(
    monkeypatch: pytest.MonkeyPatch,
    models: dict[str, str],
    refused: dict[str, str],
    trouble: RepriseError | None,
    reason: str,
) -> None:
    """Running again helps against a server that is away, and against nothing else."""
    registry = Registry({})
    registry.trouble = trouble
    monkeypatch.setattr(gate, "Tracker", lambda uri: registry)
    recorded = Recorded(
        commit="c", ref="r", metrics={}, mlflow="m", wandb=None, models=models, refused=refused, decision=YES
    )
    judged = gate.judge(Settings(), "net", Champion(pin={}, version="", why="none yet"), recorded, "run-1")
    assert judged["verdict"] == "kept" and judged["reason"].startswith(reason)


def test_a_comparison_that_does_not_decide_is_an_error(tmp_path: Path) -> None:
    stage = Stage("compare", ("true",), outs=(Out("m.yaml", "metric"),))
    (tmp_path / "m.yaml").write_text("promote: true\nreason: r\nauc: 1\n")
    assert gate.read_decision(tmp_path, stage) == {"promote": True, "reason": "r"}
    (tmp_path / "m.yaml").write_text("promote: 1\nreason: r\n")
    with pytest.raises(RepriseError, match="stage compare compares"):
        gate.read_decision(tmp_path, stage)


def test_lost_bytes_of_the_champion_are_named(tmp_path: Path) -> None:
    class Empty(Workspace):
        def get(self, md5: str, file: Path) -> None:
            raise RepriseError("gone", "")

    (tmp_path / "p").mkdir()
    with pytest.raises(BadInput, match="net version 1 is neither in the cache nor in the remote"):
        champion.place(Empty(tmp_path, "p"), PIPELINE, OLD)
    champion.place(Empty(tmp_path, "p"), PIPELINE, {})
    assert (tmp_path / "p/champion/champion.json").read_bytes() == b"{}\n"


def test_a_worktree_of_a_record_finds_the_champion_in_the_checkout_it_is_one_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remote is by default a folder of the checkout: the worktree's own is empty."""
    main, again = tmp_path / "main", tmp_path / "again"
    (main / ".dvc").mkdir(parents=True)
    (main / ".dvc/config").write_text("[core]\nremote = storage\n['remote \"storage\"']\nurl = ../var/remote\n")
    (main / "p/champion").mkdir(parents=True)
    (main / "p/dvc.yaml").write_text("stages: {}\n")
    (main / "model").write_text("champion")
    monkeypatch.setattr(workspace, "ROOT", main)
    git.git(main, "init", "--quiet")
    git.git(main, "add", ".dvc", "p")
    git.git(main, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "one")
    md5 = Workspace.create(Settings(str(main)), tmp_path / "clone", "p", "HEAD").put(main / "model")
    git.git(main, "worktree", "add", "--quiet", str(again))
    (again / "p/champion").mkdir()
    (again / "p/champion/champion.json").write_bytes(champion.dump({**OLD, "md5": md5}))
    monkeypatch.setattr(workspace, "ROOT", again)
    settings = Settings(str(again), var=again / "var")
    champion.bring(settings, PIPELINE, again / "p")
    assert (again / "p/champion/model.onnx").read_text() == "champion"
    shutil.rmtree(main / "var")
    shutil.rmtree(again / ".dvc/cache")
    with pytest.raises(BadInput, match=rf"nor in the remote {main}/var/remote .*\n.*remote modify --local storage url"):
        champion.bring(settings, PIPELINE, again / "p")


def test_meta_champion_is_checked() -> None:
    manifest._check_champion(PIPELINE)
    no_dep = Pipeline("p", (Stage("compare", ("true",), meta=Meta(champion="net")),), PIPELINE.artifacts)
    with pytest.raises(BadInput, match="but not the folder"):
        manifest._check_champion(no_dep)
    no_model = Pipeline("p", PIPELINE.stages, ())
    with pytest.raises(BadInput, match="no artifact of type model"):
        manifest._check_champion(no_model)
    two = Pipeline("p", (*PIPELINE.stages, *no_dep.stages), PIPELINE.artifacts)
    with pytest.raises(BadInput, match="both have meta champion"):
        manifest._check_champion(two)


def test_a_run_that_ignores_the_cache_is_compared_with_the_champion_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model may come out another than the champion that was made of the same inputs."""
    registry = Registry({"version": "2", "md5": "new", champion.BEFORE: json.dumps(OLD)})
    placed: list[Mapping[str, str]] = []
    monkeypatch.setattr(opening, "Tracker", lambda uri: registry)
    monkeypatch.setattr(opening, "plan", lambda *_: {"make": {"outs": [{"path": "m/model.onnx", "md5": "new"}]}})
    monkeypatch.setattr(champion, "place", lambda workspace, pipeline, pinned: placed.append(pinned))
    secured = type("Secured", (), {"secure": lambda self, md5s: None})()
    checked = opening.Checked("r", secured, PIPELINE, "", {}, {})  # type: ignore[arg-type]
    pins = {}
    for ignore in (False, True):
        request = opening.Request("p", "p", "run", ignore_cache=ignore)
        pinned, known = opening._pin_and_plan(Settings(), request, checked)
        assert pinned is not None
        assert bool(known) is not ignore
        pins[ignore] = (pinned["pin"]["version"], placed[-1]["version"])
    assert pins == {False: ("1", "1"), True: ("2", "2")}


def test_a_model_that_was_not_compared_with_the_champion_does_not_replace_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """``open`` took it for the champion's own bytes and pinned its predecessor; then it was made again, and is worse."""
    registry = Registry({"version": "2"})
    monkeypatch.setattr(gate, "Tracker", lambda uri: registry)
    pinned = Champion(pin=OLD, version="2", why="because")
    recorded = Recorded(
        commit="c",
        ref="r",
        metrics={},
        mlflow="m",
        models={"net": "3"},
        refused={},
        decision={"promote": True, "reason": "so"},
    )
    judged = gate.judge(Settings(), "net", pinned, recorded, "run-1")
    assert judged["verdict"] == "kept"
    assert "compared with version 1, the champion is version 2" in judged["reason"]
    assert (registry.held or {})["version"] == "2"
