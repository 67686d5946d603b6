"""No configuration of the user's reaches our clones, refs and records; identity and credentials do."""

import json
import os
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
from hostile import git_config
from repository import commit

from reprise import git, gitconfig
from reprise.errors import BadInput, CommandFailed
from reprise.pipeline.stages import Pipeline, Stage
from reprise.run import opening, recording, records
from reprise.settings import ROOT
from reprise.workspace import Workspace

TEXT = b"one $Id$\nsmall letters\n"


class Home(NamedTuple):
    """The user's folder, and an origin that was made in quieter times."""

    folder: Path
    origin: Path
    head: str

    @property
    def ran(self) -> str:
        """The hooks of the user's that ran."""
        file = self.folder / "ran"
        return file.read_text() if file.exists() else ""

    def configure(self, text: str) -> None:
        """Add to the user's configuration."""
        with (self.folder / ".gitconfig").open("a") as config:
            config.write(text)
        gitconfig._kept_config.cache_clear()


@pytest.fixture(params=["origin", "with space/Zoë ${x}"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A user whose git does all it can be told to do."""
    origin = tmp_path / request.param
    origin.mkdir(parents=True)
    git.git(origin, "init", "--quiet", "--initial-branch=trunk")
    (origin / "a").write_bytes(TEXT)
    (origin / "sub").mkdir()
    (origin / "sub/Zoë.txt").write_bytes(TEXT)
    head = commit(origin)
    folder = tmp_path / "home"
    config = git_config(folder)
    config.rename(folder / ".gitconfig")
    (folder / ".config/git").mkdir(parents=True)
    (folder / ".config/git/attributes").write_text("* filter=shout\n")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_TEMPLATE_DIR": str(folder / "template"),
        "GIT_AUTHOR_DATE": "2001-01-01 00:00 +0700",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.autocrlf",
        "GIT_CONFIG_VALUE_0": "true",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_DEFAULT_HASH": "sha256",
        "GIT_LITERAL_PATHSPECS": "1",
        "LANGUAGE": "de",
    }.items():
        monkeypatch.setenv(name, value)
    return Home(folder, origin, head)


def test_a_record_from_clone_to_reader(home: Home, tmp_path: Path) -> None:
    (home.origin / "new file").touch()
    (home.origin / "local.mine").touch()
    assert git.uncommitted(home.origin) == ["new file"], "what the user's own git ignores is the user's own"
    clone = tmp_path / "var/clone"
    git.clone(str(home.origin), clone, git.resolve(home.origin, "HEAD"))
    assert (clone / "a").read_bytes() == TEXT
    assert (clone / "sub/Zoë.txt").read_bytes() == TEXT
    assert git.uncommitted(home.origin) == ["new file"]

    about = {"run_id": "p-1", "dag": "p", "models": {}}
    files = {"p/run.json": json.dumps(about).encode(), "p/params.yaml": TEXT}
    made = git.commit_files(clone, home.head, files, "Grüße", 1_700_000_000)
    ref = records.ref_of("p", "p-1", home.head)
    recording.keep(str(home.origin), clone, made, ref)
    assert git.resolve(home.origin, ref) == made

    assert [r.commit for r in records.every(str(home.origin))] == [made]
    found = records.find(str(home.origin), "p-1")
    assert (found.commit, found.about, found.text("params.yaml")) == (made, about, TEXT.decode().strip())
    shown = git.git(home.origin, "show", "--no-patch", "--format=%an %ae %ai%n%B", made)
    assert shown == "Ann ann@example.org 2023-11-14 22:13:20 +0000\nGrüße"
    assert "encoding" not in git.git(home.origin, "cat-file", "commit", made)
    assert home.ran == ""


def test_a_record_is_shown_as_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from reprise.settings import Settings

    made = git.commit_files(home.origin, home.head, {"a": TEXT + b"more\n"}, "record")
    monkeypatch.setattr(recording, "ROOT", home.origin)
    # A repository's own configuration is not the user's only, and no less in the way.
    for key, value in (("color.ui", "always"), ("diff.external", "false"), ("diff.noprefix", "true")):
        git.git(home.origin, "config", key, value)
    text = recording.show(Settings(origin=str(home.origin)), made, f"{records.REFS}/x")
    assert text.startswith(f"commit {made}\nAuthor:")
    assert "--- a/a\n+++ b/a\n" in text and "+more" in text


def test_records_are_fetched_and_nothing_is_pruned(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a URL: the user's own experiments, which the origin has not got, stay."""
    own = tmp_path / "own"
    git.git(tmp_path, "clone", "--quiet", f"file://{home.origin}", str(own))
    git.git(own, "config", "fetch.prune", "true")
    git.git(own, "update-ref", f"refs/exps/{home.head[:2]}/{home.head[2:]}/foggy", home.head)
    files = {"p/run.json": b'{"run_id": "p-1", "models": {}}'}
    made = git.commit_files(home.origin, home.head, files, "run")
    git.git(home.origin, "update-ref", records.ref_of("p", "p-1", home.head), made)
    monkeypatch.setattr(records, "ROOT", own)
    assert [r.commit for r in records.every(f"file://{home.origin}")] == [made]
    assert git.resolve(own, f"refs/exps/{home.head[:2]}/{home.head[2:]}/foggy") == home.head
    assert home.ran == ""


def test_credentials_and_ways_to_the_origin_count(home: Home, tmp_path: Path) -> None:
    home.configure(
        f'[url "file://{home.origin.parent}/"]\n insteadOf = team:\n'
        '[credential]\n helper = "!f() { echo username=ann; echo \\"password=a\\\\\\\\q;#\\"; }; f"\n'
        '[http "https://example.org/"]\n extraHeader = "X: 1"\n'
        "[include]\n path = more\n"
    )
    (home.folder / "more").write_text("[core]\n sshCommand = ssh -i key\n")
    git.clone(f"team:{home.origin.name}", tmp_path / "clone", home.head)
    asked = git.git(home.origin, "credential", "fill", stdin="protocol=https\nhost=example.org\n\n")
    assert asked.splitlines()[-2:] == ["username=ann", "password=a\\q;#"]
    read = git.git(home.origin, "config", "--get-all", "http.https://example.org/.extraheader")
    assert (read, git.git(home.origin, "config", "core.sshcommand")) == ("X: 1", "ssh -i key")


@pytest.mark.parametrize("key", ["name", "email"])
def test_an_identity_that_is_not_complete_is_none(home: Home, key: str) -> None:
    subprocess.run(["git", "config", "--global", "--unset", f"user.{key}"], check=True)
    made = git.commit_files(home.origin, home.head, {"a": b"2"}, "record")
    who = git.git(home.origin, "show", "--no-patch", "--format=%an %ae %cn %ce", made)
    assert who == "Reprise reprise@localhost Reprise reprise@localhost"


def test_a_worktree_lends_and_keeps_like_any_checkout(home: Home, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git.git(home.origin, "worktree", "add", "--quiet", "--detach", str(tree))
    git.clone(str(tree), tmp_path / "clone", git.resolve(tree, "HEAD"))
    made = git.commit_files(tree, home.head, {"p/run.json": b'{"run_id": "p-1"}'}, "run")
    ref = records.ref_of("p", "p-1", home.head)
    recording.keep(str(tree), tree, made, ref)
    assert git.resolve(home.origin, ref) == made


def test_private_things_are_private_and_shared_ones_shared(home: Home, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        git.git(home.origin, "config", "core.sharedRepository", "group")
        git.clone(str(home.origin), tmp_path / "clone", home.head)
        made = git.commit_files(tmp_path / "clone", home.head, {"p/run.json": b'{"run_id": "p-1"}'}, "run")
        ref = records.ref_of("p", "p-1", home.head)
        recording.keep(str(home.origin), tmp_path / "clone", made, ref)
    finally:
        os.umask(before)
    assert (home.origin / ".git" / ref).stat().st_mode & 0o060 == 0o060
    assert (tmp_path / "clone/a").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to somebody else takes root")
def test_somebody_elses_repository_is_read_if_the_user_trusts_it(home: Home, tmp_path: Path) -> None:
    for path in (home.origin, home.origin / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(CommandFailed, match="dubious ownership"):
        git.resolve(home.origin, "HEAD")
    home.configure(f'[safe]\n directory = "{home.origin}"\n directory = "{home.origin}/.git"\n')
    assert git.resolve(home.origin, "HEAD") == home.head
    git.clone(str(home.origin), tmp_path / "clone", home.head)


def test_a_checkout_of_the_users_has_the_commits_bytes_too(home: Home, tmp_path: Path) -> None:
    """So that a run which is made again in a worktree reads the same."""
    (home.origin / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    (home.origin / "lines").write_bytes(b"one\ntwo\n")
    commit(home.origin)
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TEMPLATE_DIR": "", "GIT_NAMESPACE": ""}
    converting = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    subprocess.run(["git", *converting, "clone", "--quiet", home.origin, "own"], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "own/lines").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ("*.bin filter=lfs diff=lfs merge=lfs -text", ["data/x.bin"]),
        ("*.bin -filter", []),
        ("*.txt filter=lfs", []),
        ("", []),
    ],
)
def test_files_that_git_stores_through_a_filter(home: Home, attributes: str, found: list[str]) -> None:
    (home.origin / ".gitattributes").write_text(attributes)
    (home.origin / "data").mkdir()
    for name in ("data/x.bin", "data/y", "other.bin"):
        (home.origin / name).touch()
    commit(home.origin)
    assert git.filtered(home.origin, ["data", "missing", "a*"]) == found
    assert git.filtered(home.origin, []) == []
    workspace = Workspace(home.origin, ".")
    pipeline = Pipeline("p", (Stage("fit", ("true",), deps=("../data",)),))
    with pytest.raises(BadInput, match="stage fit: git stores data/x.bin through a filter") if found else nullcontext():
        opening._refuse_filtered(workspace, pipeline)
