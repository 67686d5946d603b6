"""A record takes its own ref and no other's, and an origin that refuses it is understood."""

import json
import threading
from pathlib import Path

import pytest
from repository import repository

from reprise import git
from reprise.errors import CommandFailed, RepriseError, TryAgain
from reprise.run import recording, records

START = 1_700_000_000


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    repository(folder)
    return folder


class Maker:
    """Makes records of runs in a clone of the origin, as their last tasks do."""

    def __init__(self, origin: Path, url: str, clone: Path) -> None:
        self.url, self.clone, self.head = url, clone, git.resolve(origin, "HEAD")
        git.clone(url, clone, self.head)

    def keep(self, run: str, metric: int, started: int = START, pipeline: str = "p") -> str:
        commit = self.make(run, metric, started, pipeline)
        recording.keep(self.url, self.clone, commit, self.ref(run, pipeline))
        return commit

    def make(self, run: str, metric: int, started: int = START, pipeline: str = "p") -> str:
        about = {"run_id": run, "dag": pipeline, "metrics": {"m": metric}}
        return git.commit_files(
            self.clone, self.head, {f"{pipeline}/run.json": json.dumps(about).encode()}, run, started
        )

    def ref(self, run: str, pipeline: str = "p") -> str:
        return records.ref_of(pipeline, run, self.head)


@pytest.fixture(params=["path", "url"])
def maker(request: pytest.FixtureRequest, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    monkeypatch.setattr(records, "ROOT", origin)
    return Maker(origin, str(origin) if request.param == "path" else f"file://{origin}", tmp_path / "clone")


def test_runs_whose_ids_look_alike_have_a_record_each(maker: Maker, origin: Path) -> None:
    ids = ["manual__1+2", "manual__1:2", "manual__1-2", "Manual__1-2", "p-manual__1-2"]
    made = {run: maker.keep(run, number) for number, run in enumerate(ids)}
    assert {r.run_id: r.commit for r in records.every(str(origin))} == made
    for run, commit in made.items():
        found = records.find(str(origin), run)
        assert (found.commit, found.run_id) == (commit, run)
        assert records.find(str(origin), found.name) == found


def test_dags_whose_names_and_ids_run_together_too(maker: Maker, origin: Path) -> None:
    made = [
        maker.keep(run, 1, pipeline=pipeline)
        for pipeline, run in (("p", "2-x"), ("p", "p-2-x"), ("p-2", "x"), ("p-2", "p-2-x"))
    ]
    assert sorted(r.commit for r in records.every(str(origin))) == sorted(made)


def test_the_task_that_is_cleared_replaces_what_it_made(maker: Maker, origin: Path) -> None:
    one = maker.keep("p-1", 1)
    assert maker.keep("p-1", 1) == one
    again = maker.keep("p-1", 2)
    assert [r.commit for r in records.every(str(origin))] == [again]


def test_a_run_made_again_under_its_old_id_leaves_the_earlier_record(maker: Maker, origin: Path) -> None:
    one, two, three = (maker.keep("p-1", number, START + number) for number in range(3))
    assert {r.commit for r in records.every(str(origin))} == {one, two, three}
    assert records.find(str(origin), "p-1").commit == three
    assert records.find(str(origin), f"{records.ref_name('p', 'p-1')}-{one[:7]}").commit == one


@pytest.mark.parametrize("other", ["another run's record", "a commit that is no record"])
def test_what_is_no_record_of_the_run_is_not_overwritten(maker: Maker, origin: Path, other: str) -> None:
    held = maker.make("p-other", 1) if other == "another run's record" else maker.head
    git.push(maker.clone, maker.url, held, maker.ref("p-1"))
    with pytest.raises(RepriseError, match=f"holds {held[:12]}, which is no record of this run") as refused:
        maker.keep("p-1", 2)
    assert not isinstance(refused.value, TryAgain)
    assert git.resolve(origin, maker.ref("p-1")) == held


def test_a_ref_that_moves_meanwhile_is_looked_at_again(maker: Maker, origin: Path) -> None:
    one, two = maker.make("p-1", 1), maker.make("p-1", 2)
    git.push(maker.clone, maker.url, one, maker.ref("p-1"))
    with pytest.raises(TryAgain, match="stale info"):
        git.push(maker.clone, maker.url, two, maker.ref("p-1"))


@pytest.mark.parametrize("hook", ["pre-receive", "update", "reference-transaction"])
def test_an_origin_may_refuse(maker: Maker, origin: Path, hook: str) -> None:
    file = origin / ".git/hooks" / hook
    file.parent.mkdir(exist_ok=True)
    file.write_text("#!/bin/sh\necho 'no experiments here' >&2\nexit 1\n")
    file.chmod(0o755)
    with pytest.raises(RepriseError) as refused:
        maker.keep("p-1", 1)
    assert not isinstance(refused.value, TryAgain | CommandFailed)
    assert str(maker.ref("p-1")) in refused.value.problem
    assert refused.value.problem.count("\n") == 0
    assert "no experiments here" in refused.value.problem
    assert "accept refs/exps/*" in refused.value.fix


def test_a_hidden_ref_is_refused_too(maker: Maker, origin: Path) -> None:
    git.git(origin, "config", "transfer.hideRefs", "refs/exps")
    with pytest.raises(RepriseError, match="hidden ref") as refused:
        maker.keep("p-1", 1)
    assert not isinstance(refused.value, TryAgain)


def test_a_locked_ref_is_tried_again(maker: Maker, origin: Path) -> None:
    lock = origin / ".git" / f"{maker.ref('p-1')}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(TryAgain):
        maker.keep("p-1", 1)


def test_an_origin_that_is_away_is_asked_again(tmp_path: Path, origin: Path) -> None:
    away = "https://ann:hidden@127.0.0.1:9/x.git"
    head = git.resolve(origin, "HEAD")
    for ask in (
        lambda: git.clone(away, tmp_path / "clone", head),
        lambda: git.resolve(away, "main"),
        lambda: git.fetch(origin, away, "refs/exps/x"),
        lambda: git.push(origin, away, head, "refs/exps/x"),
        lambda: recording.keep(away, origin, head, "refs/exps/x"),
    ):
        with pytest.raises(TryAgain) as failed:
            ask()
        assert "hidden" not in str(failed.value)
    with pytest.raises(CommandFailed):
        git.clone(str(tmp_path), tmp_path / "clone", head)


def test_two_that_record_one_run_at_once_leave_one_record(maker: Maker, origin: Path) -> None:
    made = [maker.make("p-1", number) for number in range(4)]
    failed: list[Exception] = []

    def keep(commit: str) -> None:
        try:
            recording.keep(maker.url, maker.clone, commit, maker.ref("p-1"))
        except TryAgain as error:
            failed.append(error)

    threads = [threading.Thread(target=keep, args=(commit,)) for commit in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) < len(made)
    assert git.resolve(origin, maker.ref("p-1")) in made
