"""The door to git: records leave branch, index and work tree alone."""

from pathlib import Path

import pytest
from repository import repository

from reprise import git
from reprise.errors import BadInput, CommandFailed


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repository(tmp_path)
    return tmp_path


def test_commit_files_puts_over_the_parents_tree_and_touches_nothing(repo: Path) -> None:
    head = git.resolve(repo, "HEAD")
    made = git.commit_files(repo, head, {"p/b": b"2", "a": b"3"}, "record")
    assert git.resolve(repo, "HEAD") == head
    assert git.uncommitted(repo) == []
    assert git.git(repo, "ls-tree", "-r", "--name-only", made).split() == ["a", "p/b"]
    assert git.git(repo, "show", f"{made}:a") == "3"
    assert git.git(repo, "rev-parse", f"{made}^") == head


def test_with_a_date_the_same_content_is_the_same_commit(repo: Path) -> None:
    head = git.resolve(repo, "HEAD")
    one, two = (git.commit_files(repo, head, {"b": b"2"}, "record", 1_700_000_000) for _ in range(2))
    assert one == two
    assert (
        git.git(repo, "show", "--no-patch", "--format=%ct %at %ai", one)
        == "1700000000 1700000000 2023-11-14 22:13:20 +0000"
    )


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


def test_what_is_no_utf8_passes_and_names_are_told_as_they_are(repo: Path) -> None:
    head = git.resolve(repo, "HEAD")
    made = git.commit_files(repo, head, {"a": b"caf\xe9\n"}, "latin")
    assert "+caf\ufffd" in git.git(repo, "show", made)
    (repo / "Zoë.py").touch()
    assert git.uncommitted(repo) == ["Zoë.py"]


def test_an_origin_may_be_a_url(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    url, head = f"file://{repo}", git.resolve(repo, "HEAD")
    git.git(repo, "-c", "user.name=T", "-c", "user.email=t@localhost", "tag", "-a", "v1", "-m", "one")
    git.git(repo, "branch", "other/name")
    for name in ("HEAD", "main", "v1", "other/name", "refs/heads/main", head):
        assert git.resolve(url, name) == head, name
    with pytest.raises(BadInput, match="'nowhere' is no branch, tag or full commit hash at file:"):
        git.resolve(url, "nowhere")
    target = tmp_path_factory.mktemp("clone") / "clone"
    git.clone(url, target, head)
    assert git.resolve(target, "HEAD") == head


def test_the_token_of_an_origin_is_in_no_error(repo: Path) -> None:
    with pytest.raises(CommandFailed) as failed:
        git.git(repo, "push", "https://ann:hidden@127.0.0.1:9/x.git", "HEAD:refs/heads/x")
    assert "https://127.0.0.1:9/x.git" in str(failed.value) and "hidden" not in str(failed.value)
