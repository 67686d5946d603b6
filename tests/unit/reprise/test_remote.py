"""What the remote refuses may be tried again; what is lost or was never written may not."""

from pathlib import Path

import pytest
from repository import commit

from reprise import git, workspace
from reprise.errors import BadInput, RepriseError, TryAgain
from reprise.lock import hash_inputs
from reprise.messages import Entry
from reprise.settings import Settings
from reprise.workspace import Workspace

DVC_YAML = "stages:\n  say:\n    cmd: echo hello > hello.txt\n    outs: [hello.txt]\n"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A clone of a repository with one stage, its cache and its remote."""
    origin = tmp_path / "origin"
    (origin / "p").mkdir(parents=True)
    (origin / "p/dvc.yaml").write_text(DVC_YAML)
    git.git(origin, "init", "--quiet", "--initial-branch=main")
    (origin / ".dvc").mkdir()
    (origin / ".dvc/config").write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path}/remote\n")
    commit(origin, "one")
    monkeypatch.setattr(workspace, "ROOT", origin)
    settings = Settings(origin=str(origin), var=tmp_path / "var")
    return Workspace.create(settings, tmp_path / "var/clone", "p", git.resolve(origin, "HEAD"))


def _said(work: Workspace) -> Entry:
    (work.folder / "hello.txt").write_text("hello\n")
    return work.commit("say")


def _away(work: Workspace, tmp_path: Path) -> None:
    """A file in the remote's place: nobody, root included, can write or read below it."""
    if (tmp_path / "remote").is_dir():
        (tmp_path / "remote").rename(tmp_path / "kept")
    (tmp_path / "remote").touch()


def _back(tmp_path: Path) -> None:
    (tmp_path / "remote").unlink()
    if (tmp_path / "kept").exists():
        (tmp_path / "kept").rename(tmp_path / "remote")


def _forget(work: Workspace, entry: Entry) -> None:
    """Neither the workspace nor this node's cache holds the output any more."""
    md5 = entry["outs"][0]["md5"]
    Path(work.repo.cache.local.oid_to_path(md5)).unlink()
    (work.folder / "hello.txt").unlink()


def test_push_and_pull_may_be_tried_again_where_the_remote_is_away(work: Workspace, tmp_path: Path) -> None:
    entry = _said(work)
    _away(work, tmp_path)
    with pytest.raises(TryAgain):
        work.probe_remote()
    with pytest.raises(TryAgain):
        work.push("say", entry)
    _back(tmp_path)
    work.push("say", entry)
    _forget(work, entry)
    work.write_lock({"say": entry})
    _away(work, tmp_path)
    with pytest.raises(TryAgain):
        work.pull(["hello.txt"])
    _back(tmp_path)
    work.pull(["hello.txt"])
    assert (work.folder / "hello.txt").read_text() == "hello\n"


def test_an_empty_output_is_no_error_in_the_log(
    work: Workspace, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """DVC warns of it, and what goes to stderr is an error on Airflow's page."""
    (work.folder / "hello.txt").touch()
    work.commit("say")
    work.write_lock({})
    work.commit("say")
    assert (capfd.readouterr().err, caplog.messages) == ("", [])


def test_one_object_that_the_remote_does_not_take_is_noticed(work: Workspace, tmp_path: Path) -> None:
    entry = _said(work)
    md5 = entry["outs"][0]["md5"]
    (tmp_path / "remote/files/md5").mkdir(parents=True)
    (tmp_path / "remote/files/md5" / md5[:2]).symlink_to("/proc/nowhere")  # where the object's folder would be
    with pytest.raises(TryAgain, match="1 objects did not reach the remote"):
        work.push("say", entry)
    with pytest.raises(TryAgain, match="did not reach the remote"):
        work.put(work.folder / "hello.txt")


def test_what_is_in_neither_cache_nor_remote_is_lost_for_good(work: Workspace) -> None:
    entry = _said(work)
    work.write_lock({"say": entry})
    _forget(work, entry)
    with pytest.raises(RepriseError, match="dvc pull") as lost:
        work.pull(["hello.txt"])
    assert not isinstance(lost.value, TryAgain)


def test_an_output_that_was_not_written_is_no_matter_of_the_remote(work: Workspace) -> None:
    with pytest.raises(RepriseError, match="hello.txt") as missing:
        work.commit("say")
    assert not isinstance(missing.value, TryAgain)


@pytest.mark.parametrize(("needs", "said"), [("deps: [none.py]", "none.py"), ("params: [a.b]", "a.b")])
def test_what_a_stage_needs_and_has_not_got_is_named(work: Workspace, needs: str, said: str) -> None:
    (work.folder / "params.yaml").write_text("c: 1\n")
    (work.folder / "dvc.yaml").write_text(f"{DVC_YAML}    {needs}\n")
    with pytest.raises(RepriseError, match=rf"say.*{said}.*\n  next: correct deps and params"):
        hash_inputs(work.stage("say"), {}, {})


class Task:
    """Keeps what is said of it."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def xcom_push(self, key: str, value: str) -> None:
        self.said[key] = value


def test_airflow_tries_again_only_what_another_try_may_not_meet() -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from reprise.dag.tries import tried_again_or_not

    ti = Task()
    with pytest.raises(AirflowException, match="busy\n  next: wait") as again, tried_again_or_not(ti):
        raise TryAgain("busy", "wait")
    assert not isinstance(again.value, AirflowFailException)
    assert ti.said == {"problem": "busy\n  next: wait"}
    with pytest.raises(AirflowFailException, match="wrong"), tried_again_or_not(ti):
        raise BadInput("wrong", "correct it")
