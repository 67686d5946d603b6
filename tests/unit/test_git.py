"""The door to git: records leave branch, index and work tree alone."""

from pathlib import Path

import pytest

from reprise import git
from reprise.errors import BadInput, CommandFailed


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git.git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "a").write_text("1")
    git.git(tmp_path, "add", "a")
    git.git(tmp_path, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "one")
    return tmp_path


def test_commit_files_puts_over_the_parents_tree_and_touches_nothing(repo: Path) -> None:
    head = git.resolve(repo, "HEAD")
    made = git.commit_files(repo, head, {"p/b": b"2", "a": b"3"}, "record")
    assert git.resolve(repo, "HEAD") == head
    assert git.uncommitted(repo) == []
    assert git.git(repo, "ls-tree", "-r", "--name-only", made).split() == ["a", "p/b"]
    assert git.git(repo, "show", f"{made}:a") == "3"
    assert git.git(repo, "rev-parse", f"{made}^") == head


def test_uncommitted_names_changed_staged_and_new_files(repo: Path) -> None:
    (repo / "a").write_text("changed")
    (repo / "new").touch()
    (repo / "staged").touch()
    git.git(repo, "add", "staged")
    assert git.uncommitted(repo) == ["a", "new", "staged"]


def test_a_hooks_environment_does_not_leak_in(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git.git(repo, "branch", "--show-current") == "main"


def test_clone_is_detached_at_the_revision(repo: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "clone"
    git.clone(str(repo), target, git.resolve(repo, "main"))
    assert (target / "a").read_text() == "1"


def test_errors_say_what_failed(repo: Path) -> None:
    with pytest.raises(BadInput, match="revision 'nowhere' does not exist"):
        git.resolve(repo, "nowhere")
    with pytest.raises(BadInput, match="revision '--all' does not exist"):
        git.resolve(repo, "--all")
    with pytest.raises(CommandFailed, match="git frobnicate .* exited 1"):
        git.git(repo, "frobnicate")
