"""The only door to git: run a command, whatever the user's configuration, and keep its output in the error."""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from reprise.errors import BadInput, CommandFailed, RepriseError, TryAgain
from reprise.gitconfig import OVERRIDES, our_environment, users_environment
from reprise.settings import ROOT

# Records are made by the machinery; the author is the person whose git is configured, where there is one.
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Reprise",
    "GIT_AUTHOR_EMAIL": "reprise@localhost",
    "GIT_COMMITTER_NAME": "Reprise",
    "GIT_COMMITTER_EMAIL": "reprise@localhost",
}

_OF_GIT = re.compile(r"(To|error:|fatal:|send-pack:) ")
"""Lines of a push that failed that are git's, not the origin's."""
_MAY_PASS = ("stale info", "unpacker error", "failed to update ref", "lock")
"""Of the reasons for which an origin refuses a ref, those that are gone the next time."""


def git(repo: Path | str, *args: str, stdin: str | bytes | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run ``git -C repo args`` and return its stdout, stripped.

    :raises CommandFailed: with the command, its exit code and what it said.
    """
    return _output(repo, args, _run(repo, args, stdin, env))


def _run(
    repo: Path | str, args: Iterable[str], stdin: str | bytes | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    with our_environment(ROOT) as ours:
        return _call(repo, (*OVERRIDES, *args), stdin, {**ours, **(env or {})})


def _call(
    repo: Path | str, args: Iterable[str], stdin: str | bytes | None, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-C", str(repo), *args],
        input=stdin.encode() if isinstance(stdin, str) else stdin or b"",
        capture_output=True,
        env=dict(env),
        check=False,
    )


def _output(repo: Path | str, args: Iterable[str], done: subprocess.CompletedProcess[bytes]) -> str:
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
    :raises CommandFailed: where git cannot read the repository: it is somebody else's, say.
    :raises TryAgain: where the URL does not answer.
    """
    if not Path(repo).is_dir():
        return _resolve_at(str(repo), revision)
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except CommandFailed as error:
        git(repo, "rev-parse", "--git-dir")
        raise BadInput(
            f"revision {revision!r} does not exist in {repo}", f"git -C {repo} log --oneline --all"
        ) from error


def _resolve_at(url: str, revision: str) -> str:
    found = refs_at(url)
    names = [f"{place}{revision}" for place in ("", "refs/", "refs/tags/", "refs/heads/")]  # in git's own order
    for name in (f"{name}{peeled}" for name in names for peeled in ("^{}", "")):  # of a tag the commit it points at
        if name in found:
            return found[name]
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    at = without_password(url)
    raise BadInput(f"revision {revision!r} is no branch, tag or full commit hash at {at}", f"git ls-remote {at}")


def refs_at(origin: str, *patterns: str) -> dict[str, str]:
    """Names of an origin's refs, or of those that end in a pattern → hash.

    :raises TryAgain: where the URL does not answer.
    """
    lines = (line.split("\t") for line in _ask(origin, Path(), "ls-remote", "--", origin, *patterns).splitlines())
    return {name: commit for commit, name in lines}


def fetch(repo: Path, origin: str, refspec: str) -> None:
    """Bring a ref's objects, and the ref itself where the refspec says as what; nothing else in ``repo`` changes.

    :raises TryAgain: where the URL does not answer.
    """
    _ask(origin, repo, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", origin, refspec)


def push(repo: Path, origin: str, commit: str, ref: str, held: str = "") -> None:
    """Point ``ref`` at the origin at ``commit``.

    :param held: the commit that it points at now; empty: there is no such ref.
    :raises RepriseError: where the origin refuses it; a hook of its own may.
    :raises TryAgain: where the ref has moved meanwhile, or the way to the origin failed.
    """
    args = ("push", "--porcelain", f"--force-with-lease={ref}:{held}", "--", origin, f"{commit}:{ref}")
    done = _run(repo, args)
    why = _refusal(done)
    if not why:
        _at_origin(origin, repo, args, done)
        return
    at = without_password(origin)
    problem = without_password(f"{at} refused {ref}: {why}")
    if any(passing in why for passing in _MAY_PASS):
        raise TryAgain(problem, f"git ls-remote {at} {ref}")
    raise RepriseError(problem, f"let {at} accept refs/exps/*, then clear the task in Airflow")


def _refusal(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why the origin did not take what was pushed, and what it says besides; empty where it took it or was not reached."""
    out, said = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    found = re.search(r"^!\t.*\t(.*)$", out, re.MULTILINE) or re.search(r"^fatal: (.* by hook)$", said, re.MULTILINE)
    if not (done.returncode and found):
        return ""
    words = [line.removeprefix("remote:").strip() for line in said.splitlines() if not _OF_GIT.match(line)]
    return "; ".join(dict.fromkeys([found[1], *filter(None, words)]))


def _ask(origin: str, repo: Path, *args: str) -> str:
    return _at_origin(origin, repo, args, _run(repo, args))


def _at_origin(origin: str, repo: Path, args: Iterable[str], done: subprocess.CompletedProcess[bytes]) -> str:
    """The output of a command that talked to an origin: what a network fails to do it may do the next time."""
    try:
        return _output(repo, args, done)
    except CommandFailed as error:
        if Path(origin).is_dir():
            raise
        raise TryAgain(error.problem, f"git ls-remote {without_password(origin)}") from error


def uncommitted(repo: Path | str) -> list[str]:
    """Files that differ from HEAD or that git does not know, sorted; a run would not see them.

    In the eyes of the user's own git: it is their checkout, with their line ends and their list of what to ignore.
    """
    args = ("--no-optional-locks", "status", "--porcelain", "--no-renames", "--untracked-files=all", "-z")
    done = _call(repo, args, None, users_environment())
    _output(repo, args, done)
    return sorted(entry[3:] for entry in done.stdout.decode(errors="replace").split("\0") if entry)


def filtered(repo: Path, paths: Iterable[str]) -> list[str]:
    """Files among ``paths``, or below them, that a filter of ``.gitattributes`` (git-lfs, say) stores as something else."""
    named = [f":(top,literal){path}" for path in paths]
    if not named:
        return []
    files = git(repo, "ls-files", "-z", "--", *named)
    if not files:
        return []
    # Not the pathspec `attr:!filter`: without a .gitattributes it matches nothing.
    said = git(repo, "check-attr", "-z", "--stdin", "filter", stdin=files).split("\0")
    values = zip(said[::3], said[2::3], strict=False)  # path, "filter", value
    return [path for path, value in values if value not in ("unspecified", "unset")]


def worktree_of(repo: Path | str) -> Path | None:
    """The checkout that ``repo`` is a worktree of (`git worktree add`); None where it has a repository of its own."""
    own, common = git(repo, "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir").splitlines()
    return Path(common).parent if own != common else None


def clone(origin: str, target: Path, revision: str) -> None:
    """Clone ``origin`` at ``revision`` (detached), with the commit's bytes.

    A local origin lends its objects, so this takes milliseconds.

    :raises TryAgain: where the URL does not answer.
    """
    share = ("--shared",) if Path(origin).is_dir() else ()
    target.parent.mkdir(parents=True, exist_ok=True)
    plain = ("--quiet", "--template=", "--no-checkout")
    _ask(origin, target.parent, "clone", *plain, *share, "--", origin, str(target))
    git(target, "checkout", "--quiet", "--detach", revision)


def commit_files(repo: Path, parent: str, files: Mapping[str, bytes], message: str, seconds: int | None = None) -> str:
    """Commit ``parent``'s tree with ``files`` (path → content) put over it, without touching index or work tree.

    :param seconds: the commit's date, since 1970; None: now. With a date, the same content is the same commit.
    :returns: the new commit's hash. Nothing refers to it yet: push it to a ref.
    """
    with tempfile.TemporaryDirectory(prefix="reprise-") as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        git(repo, "read-tree", parent, env=index)
        for path, content in sorted(files.items()):
            blob = git(repo, "hash-object", "-w", "--stdin", stdin=content)
            git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        tree = git(repo, "write-tree", env=index)
    date = {} if seconds is None else dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{seconds} +0000")
    return git(repo, "commit-tree", tree, "-p", parent, "-F", "-", stdin=message, env={**_identity(repo), **date})


def _identity(repo: Path) -> dict[str, str]:
    """The configured author's name and address, else Reprise's own."""
    try:
        for role in ("AUTHOR", "COMMITTER"):
            git(repo, "var", f"GIT_{role}_IDENT")
    except CommandFailed:
        return _IDENTITY
    return {}
