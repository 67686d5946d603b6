"""The only door to git: run a command, keep its output in the error."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from reprise.errors import BadInput, CommandFailed

# A hook or an outer git command exports these; they would point our git at the wrong repository.
_LEAKS = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")

# Records are made by the machinery; the author is the person whose git is configured, where there is one.
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Reprise",
    "GIT_AUTHOR_EMAIL": "reprise@localhost",
    "GIT_COMMITTER_NAME": "Reprise",
    "GIT_COMMITTER_EMAIL": "reprise@localhost",
}


def git(repo: Path | str, *args: str, stdin: str | bytes | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run ``git -C repo args`` and return its stdout, stripped.

    :raises CommandFailed: with the command, its exit code and what it said.
    """
    base = {name: value for name, value in os.environ.items() if name not in _LEAKS}
    done = subprocess.run(
        # Names as they are: by default git writes those that are not ASCII in octal.
        ["git", "-C", str(repo), "-c", "core.quotePath=false", *args],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env={**base, "GIT_TERMINAL_PROMPT": "0", **(env or {})},
        check=False,
    )
    out, said = (stream.decode(errors="replace").strip() for stream in (done.stdout, done.stderr))
    if done.returncode:
        problem = f"git {' '.join(args)} (in {repo}) exited {done.returncode}: {said or out}"
        raise CommandFailed(without_password(problem), f"git -C {repo} status")
    return out


def without_password(text: str) -> str:
    """``text`` with the name and password, or the token, cut out of its URLs: errors end in logs and on pages."""
    return re.sub(r"(\w://)[^\s/@]+@", r"\1", text)


def resolve(repo: Path | str, revision: str) -> str:
    """The full commit hash of a branch, tag or commit; at a URL, which only tells its refs, of a commit in full.

    :raises BadInput: where the revision does not exist.
    """
    if not Path(repo).is_dir():
        return _resolve_at(str(repo), revision)
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except CommandFailed as error:
        raise BadInput(
            f"revision {revision!r} does not exist in {repo}", f"git -C {repo} log --oneline --all"
        ) from error


def _resolve_at(url: str, revision: str) -> str:
    lines = (line.split("\t") for line in git(Path(), "ls-remote", "--", url).splitlines())
    found = {name: commit for commit, name in lines}
    names = [f"{place}{revision}" for place in ("", "refs/", "refs/tags/", "refs/heads/")]  # in git's own order
    for name in (f"{name}{peeled}" for name in names for peeled in ("^{}", "")):  # of a tag the commit it points at
        if name in found:
            return found[name]
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    at = without_password(url)
    raise BadInput(f"revision {revision!r} is no branch, tag or full commit hash at {at}", f"git ls-remote {at}")


def uncommitted(repo: Path | str) -> list[str]:
    """Files that differ from HEAD or that git does not know, sorted; a run would not see them."""
    changed = git(repo, "diff", "--name-only", "HEAD").splitlines()
    unknown = git(repo, "ls-files", "--others", "--exclude-standard").splitlines()
    return sorted({*changed, *unknown})


def worktree_of(repo: Path | str) -> Path | None:
    """The checkout that ``repo`` is a worktree of (`git worktree add`); None where it has a repository of its own."""
    own, common = git(repo, "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir").splitlines()
    return Path(common).parent if own != common else None


def clone(origin: str, target: Path, revision: str) -> None:
    """Clone ``origin`` at ``revision`` (detached); a local origin lends its objects, so this takes milliseconds."""
    share = ("--shared",) if Path(origin).is_dir() else ()
    target.parent.mkdir(parents=True, exist_ok=True)
    git(target.parent, "clone", "--quiet", *share, "--no-checkout", "--", origin, str(target))
    git(target, "checkout", "--quiet", "--detach", revision)


def commit_files(repo: Path, parent: str, files: Mapping[str, bytes], message: str, seconds: int | None = None) -> str:
    """Commit ``parent``'s tree with ``files`` (path → content) put over it, without touching index or work tree.

    :param seconds: the commit's date, since 1970; None: now. With a date, the same content is the same commit.
    :returns: the new commit's hash. Nothing refers to it yet: push it to a ref.
    """
    index = {"GIT_INDEX_FILE": str(repo / ".git" / "reprise-record-index")}
    git(repo, "read-tree", parent, env=index)
    for path, content in sorted(files.items()):
        blob = git(repo, "hash-object", "-w", "--stdin", stdin=content)
        git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
    tree = git(repo, "write-tree", env=index)
    date = {} if seconds is None else dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{seconds} +0000")
    given = {**index, **_identity(repo), **date}
    return git(repo, "commit-tree", tree, "-p", parent, "-F", "-", stdin=message, env=given)


def _identity(repo: Path) -> dict[str, str]:
    """The configured author's name and address, else Reprise's own."""
    try:
        git(repo, "var", "GIT_COMMITTER_IDENT")
    except CommandFailed:
        return _IDENTITY
    return {}
