"""Git repositories for tests, whoever runs them: the author is named here."""

from pathlib import Path

from reprise import git


def commit(repo: Path, message: str = "one") -> str:
    """Commit everything; returns the hash."""
    git.git(repo, "add", "--all")
    git.git(repo, "-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", message)
    return git.resolve(repo, "HEAD")


def repository(folder: Path) -> str:
    """A repository with one file, `a`, in one commit; returns the commit's hash."""
    git.git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "a").write_text("1")
    return commit(folder)
