"""Known means in the remote: whatever vouches for a result, nobody is promised bytes that the remote does not hold."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import commit

from reprise import git, workspace
from reprise.errors import RepriseError, TryAgain
from reprise.messages import Entry, Opened
from reprise.pipeline import manifest
from reprise.pipeline.stages import Pipeline
from reprise.run import recording
from reprise.run.plan import find_again, plan, without_absent
from reprise.settings import Settings
from reprise.workspace import Workspace

Graph = Mapping[str, Iterable[str]]
"""Stage → the stages whose outputs it reads."""

CHAIN: Graph = {"a": (), "b": ("a",), "c": ("b",)}


@dataclass
class Team:
    """An origin with one pipeline, a remote and a node, on which stages write bytes that no two executions share."""

    folder: Path
    graph: Graph
    pushes_fail: set[str] = field(default_factory=set)
    """Stages whose first push of a run meets a remote that is away."""

    def __post_init__(self) -> None:
        stages = "".join(
            f"  {name}:\n    cmd: make {name}\n    deps: [{', '.join(['code', *(f'{u}.d' for u in upstream)])}]\n"
            f"    outs: [{name}.d, {name}.txt]\n"
            for name, upstream in self.graph.items()
        )
        (self.origin / "p").mkdir(parents=True)
        (self.origin / "p/code").write_text("1")
        (self.origin / "p/dvc.yaml").write_text(f"stages:\n{stages}")
        git.git(self.origin, "init", "--quiet", "--initial-branch=main")
        (self.origin / ".dvc").mkdir()
        self.use_remote("remote")
        commit(self.origin)

    @property
    def origin(self) -> Path:
        return self.folder / "origin"

    @property
    def cache(self) -> Path:
        return self.origin / ".dvc/cache"

    def use_remote(self, name: str) -> None:
        self.remote = self.folder / name
        (self.origin / ".dvc/config").write_text(
            f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {self.remote}\n"
        )

    def clone(self) -> Workspace:
        clone = self.folder / "var" / uuid4().hex
        return Workspace.create(Settings(origin=str(self.origin), var=self.folder / "var"), clone, "p", "HEAD")

    def pipeline(self, work: Workspace) -> Pipeline:
        return manifest.read(work.path, "p")

    def plan(self) -> dict[str, Entry]:
        work = self.clone()
        return plan(work, self.pipeline(work))

    def run(self, ignore: bool = False) -> tuple[dict[str, Entry], dict[str, str]]:
        """Run every stage as its task does; returns the lock entries of the run and what became of each stage."""
        known, entries, verdicts = {} if ignore else self.plan(), {}, {}
        failing = set(self.pushes_fail)
        pipeline = self.pipeline(self.clone())
        for stage in pipeline.stages:
            if stage.name in known:
                entries[stage.name], verdicts[stage.name] = known[stage.name], "planned"
                continue
            upstream = {name: entries[name] for name in pipeline.ancestors(stage.name)}
            for _ in range(2):
                try:
                    entries[stage.name], verdicts[stage.name] = self._task(stage.name, upstream, failing, ignore)
                    break
                except TryAgain:
                    self._back()
        return entries, verdicts

    def _task(
        self, name: str, upstream: Mapping[str, Entry], failing: set[str], ignore: bool = False
    ) -> tuple[Entry, str]:
        """One try of one stage."""
        work = self.clone()
        pipeline = self.pipeline(work)
        stage = next(stage for stage in pipeline.stages if stage.name == name)
        work.write_lock(upstream)
        if not ignore and (entry := find_again(work, pipeline, stage, upstream)):
            return entry, "found"
        work.pull(f"{dep}.d" for dep in stage.upstream)
        (work.folder / f"{name}.d").mkdir()
        (work.folder / f"{name}.d/part").write_text(uuid4().hex)
        (work.folder / f"{name}.d/same").write_text("the same in each")
        (work.folder / f"{name}.txt").write_text(uuid4().hex)
        entry = work.commit(name)
        if name in failing:
            failing.remove(name)
            self.away()
        work.push(name, entry)
        return entry, "ran"

    def away(self) -> None:
        """A file in the remote's place: nobody, root included, can write or read below it."""
        if self.remote.is_dir():
            self.remote.rename(self.folder / "kept")
        self.remote.touch()

    def _back(self) -> None:
        self.remote.unlink()
        if (self.folder / "kept").exists():
            (self.folder / "kept").rename(self.remote)

    def lose(self, store: Path, md5: str) -> None:
        """Remove one object from the cache or the remote."""
        (store / "files/md5" / md5[:2] / md5[2:]).unlink()

    def absent(self, entries: Mapping[str, Entry]) -> set[str]:
        return self.clone().absent(out["md5"] for entry in entries.values() for out in entry["outs"])


def _out(entries: Mapping[str, Entry], path: str) -> str:
    return next(out["md5"] for entry in entries.values() for out in entry["outs"] if out["path"] == path)


def assert_one_world(entries: Mapping[str, Entry]) -> None:
    """What a stage read is what the stage before it wrote."""
    for name, entry in entries.items():
        for dep in entry["deps"]:
            if dep["path"] != "code":
                assert dep["md5"] == _out(entries, dep["path"]), f"{name} read another {dep['path']}"


def test_the_second_try_pushes_what_the_first_could_not(tmp_path: Path) -> None:
    team = Team(tmp_path, CHAIN, pushes_fail={"a", "c"})
    entries, verdicts = team.run()
    assert verdicts == {"a": "found", "b": "ran", "c": "found"}
    assert team.absent(entries) == set()
    shutil.rmtree(team.cache)
    assert team.plan() == entries, "another node finds the stages, too"


def test_a_new_remote_gets_what_the_old_one_had(tmp_path: Path) -> None:
    team = Team(tmp_path, CHAIN)
    before, _ = team.run()
    team.use_remote("other")
    assert team.plan() == {}
    after, verdicts = team.run()
    assert (after, set(verdicts.values())) == (before, {"found"})
    assert team.absent(after) == set()
    shutil.rmtree(team.cache)
    assert team.plan() == before


def test_a_file_that_is_gone_below_a_folder_that_is_there_is_pushed_again(tmp_path: Path) -> None:
    """DVC takes a folder's object for a promise that its files are there, and remembers that it pushed them."""
    team = Team(tmp_path, CHAIN)
    entries, _ = team.run()
    part = team.clone().files(_out(entries, "b.d"))["part"]
    team.lose(team.remote, part)
    assert set(team.plan()) == {"a"}
    again, verdicts = team.run()
    assert verdicts == {"a": "planned", "b": "found", "c": "found"}
    assert again == entries
    assert team.absent(again) == set()


def test_what_depends_on_a_lost_output_looks_again(tmp_path: Path) -> None:
    team = Team(tmp_path, CHAIN)
    entries, _ = team.run()
    for store in (team.remote, team.cache):
        team.lose(store, _out(entries, "a.txt"))
    again, verdicts = team.run()
    assert verdicts == {"a": "ran", "b": "ran", "c": "ran"}
    assert_one_world(again)


@given(data=st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_what_is_kept_is_closed_upwards(data: st.DataObject) -> None:
    from reprise.pipeline.stages import Out, Stage

    names = [f"s{n}" for n in range(data.draw(st.integers(1, 8)))]
    stages = tuple(
        Stage(
            name, ("true",), outs=(Out(name),), upstream=tuple(sorted(data.draw(st.sets(st.sampled_from(names[:n])))))
        )
        if n
        else Stage(name, ("true",), outs=(Out(name),))
        for n, name in enumerate(names)
    )
    pipeline = Pipeline("p", stages)
    known = {name: {"outs": [{"path": name, "md5": name}]} for name in data.draw(st.sets(st.sampled_from(names)))}
    absent = data.draw(st.sets(st.sampled_from(names)))
    kept = without_absent(pipeline, known, absent)
    for name in names:
        stands_on = {name, *pipeline.ancestors(name)}
        assert (name in kept) == (stands_on <= known.keys() and not stands_on & absent)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = "abcde"[: draw(st.integers(2, 5))]
    return {name: sorted(draw(st.sets(st.sampled_from(names[:n])))) if n else [] for n, name in enumerate(names)}


@pytest.mark.long
@given(graph=graphs(), data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_record_contradicts_itself_whatever_is_lost(graph: dict[str, list[str]], data: st.DataObject) -> None:
    _lose_and_run_again(graph, data)


@given(graph=graphs(), data=st.data())
@settings(max_examples=4, deadline=None, derandomize=True)
def test_no_record_contradicts_itself_whatever_is_lost_in_few_cases(
    graph: dict[str, list[str]], data: st.DataObject
) -> None:
    _lose_and_run_again(graph, data)


def _lose_and_run_again(graph: Graph, data: st.DataObject) -> None:
    """Random objects go from cache and remote, random pushes fail: the next runs are whole and of one world."""
    with TemporaryDirectory() as folder:
        team = Team(Path(folder), graph)
        with patch.object(workspace, "ROOT", team.origin):
            team.run()
            for _ in range(2):
                for store in (team.cache, team.remote):
                    objects = sorted("".join(p.parts[-2:]) for p in (store / "files/md5").rglob("*") if p.is_file())
                    for md5 in data.draw(st.sets(st.sampled_from(objects), max_size=6)):
                        team.lose(store, md5)
                team.pushes_fail = data.draw(st.sets(st.sampled_from(sorted(graph)), max_size=2))
                entries, _ = team.run(ignore=data.draw(st.booleans()))
                assert_one_world(entries)
                assert team.absent(entries) == set()


def test_a_record_is_refused_if_the_remote_cannot_serve_it(tmp_path: Path) -> None:
    team = Team(tmp_path, CHAIN)
    entries, _ = team.run()
    done = {name: {"entry": entry} for name, entry in entries.items()}
    opened = Opened(listing=None, champion=None)  # type: ignore[typeddict-item]
    team.lose(team.remote, _out(entries, "b.txt"))
    recording._secure(team.clone(), opened, done)  # type: ignore[arg-type]
    assert team.absent(entries) == set(), "what only this node had is in the remote"
    for store in (team.remote, team.cache):
        team.lose(store, _out(entries, "b.txt"))
    with pytest.raises(RepriseError, match="the run is not recorded: .* b.txt of stage b\n  next: make run"):
        recording._secure(team.clone(), opened, done)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "ROOT", tmp_path / "origin")
