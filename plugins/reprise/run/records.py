"""Find a finished run's record in git again: the commit that holds its run.json, dvc.lock, params and listing."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from reprise import git
from reprise.errors import BadInput
from reprise.folders import slug
from reprise.lock import plain
from reprise.messages import Entry
from reprise.pipeline import manifest, params
from reprise.pipeline.paramfiles import parse_yaml
from reprise.run import numbers
from reprise.settings import ROOT

RUN_FILE = "run.json"
"""What is known of a run beside its files; a commit that writes one is a record."""
REFS = "refs/exps"
"""Where records lie: as DVC's experiments of the revision they ran."""


def ref_name(pipeline: str, run_id: str) -> str:
    """What a run's record is called: by the run's id, and by the pipeline's name, as two share ids of schedules.

    The ids that `make run` gives, which name the pipeline, stay as they are; others have a hash of both behind them,
    as `p` with `2-x` is not `p-2` with `x`.
    """
    name = pipeline.rstrip("/").rsplit("/", 1)[-1]
    if re.fullmatch(rf"{re.escape(name)}-\d{{8}}-\d{{6}}", run_id):
        return slug(run_id)
    return slug(run_id if run_id.startswith(f"{name}-") else f"{name}-{run_id}", of=f"{name}/{run_id}")


def ref_of(pipeline: str, run_id: str, revision: str) -> str:
    """The ref of a run's record: where DVC looks for the experiments of the revision."""
    return f"{REFS}/{revision[:2]}/{revision[2:]}/{ref_name(pipeline, run_id)}"


@dataclass(frozen=True)
class Record:
    """A run's commit, and what it says. Files are read when they are asked for."""

    repo: Path
    """A local repository that has the commit."""
    commit: str
    ref: str
    """Full name of its ref; empty where none points at it any more."""
    pipeline: str
    """The pipeline's folder, relative to the repository."""

    def text(self, name: str) -> str:
        """A file of the pipeline's folder as the record has it; empty where it has none."""
        blob = self.blob(name)
        return git.git(self.repo, "cat-file", "blob", blob) if blob else ""

    def blob(self, name: str) -> str:
        """What git calls the content of a file, read or not; empty where the record has none."""
        found = git.git(self.repo, "ls-tree", self.commit, "--", f"{self.pipeline}/{name}")  # mode, type, hash, path
        return found.split()[2] if found else ""

    @cached_property
    def about(self) -> dict[str, Any]:
        """run.json: dag, run_id, revision, as_of, inbox, mlflow_run, models, metrics …"""
        return dict(json.loads(self.text(RUN_FILE)))

    @property
    def run_id(self) -> str:
        """The id of the run in Airflow."""
        return str(self.about["run_id"])

    @property
    def inbox(self) -> str:
        """Where its photographs lay, without the repository's own folder before it; empty where it read none."""
        return str(self.about.get("inbox") or "").removeprefix(f"{self.repo}/")

    @property
    def name(self) -> str:
        """What the record is called in ``dvc exp show``; without a ref, the run's id."""
        return self.ref.rsplit("/", 1)[-1] or self.run_id

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The final numbers."""
        return numbers.from_json(self.about.get("metrics", {}))

    @cached_property
    def params(self) -> dict[str, Any]:
        """Every parameter's value by its dotted name."""
        return params.flat(self.text(params.FILE))

    @cached_property
    def lock(self) -> dict[str, Entry]:
        """dvc.lock: stage → entry."""
        return dict(plain(parse_yaml(self.text("dvc.lock")) or {}).get("stages", {}))

    @cached_property
    def outs(self) -> dict[str, dict[str, Any]]:
        """Every stage's outputs by path: hash, size, number of files."""
        return {out["path"]: out for entry in self.lock.values() for out in entry.get("outs", [])}

    def models(self, versions: Iterable[Mapping[str, str]]) -> dict[str, str]:
        """Registered model's name → version: as run.json says or, where MLflow was away then, by the bytes' hash.

        :param versions: the registry's, each its tags, ``name`` and ``version``.
        """
        if self.about["models"]:
            return dict(self.about["models"])
        made = {out.get("md5") for out in self.outs.values()}
        return {v["name"]: v["version"] for v in versions if v.get("md5") in made}

    @cached_property
    def listing(self) -> dict[str, list[dict[str, Any]]]:
        """The files that were in the inbox, by arrival date; empty where no stage reads one."""
        text = self.text(manifest.LISTING)
        return dict(json.loads(text)["partitions"]) if text else {}


def find(origin: str, name: str) -> Record:
    """The record of a run id, a name in ``dvc exp show``, or a commit (in full or its beginning).

    :raises BadInput: where there is none, or several: of two pipelines with the same run id, say.
    """
    repo = _local(origin)
    known = list(every(origin))
    named = [r for r in known if name == r.ref or r.name in (name, ref_name(r.pipeline, name))]
    if not named:  # called by another rule, by an earlier Reprise or by hand: the last of each pipeline
        named = list({r.pipeline: r for r in known if r.run_id == name}.values())
    if len(named) > 1:
        raise BadInput(
            f"{name!r} names {len(named)} records: {', '.join(r.name for r in named)}",
            "use one of these names, or a commit",
        )
    if named:
        return named[0]
    return _of_commit(repo, name, sorted({label for r in known for label in (r.name, r.run_id)}))


def every(origin: str, pipeline: str | None = None) -> Iterator[Record]:
    """All records, or one pipeline's (its folder), oldest first. What people's own ``dvc exp run`` left is no record."""
    repo = _local(origin)
    lines = git.git(repo, "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", f"{REFS}/??/*/*")
    refs = [line.split(" ", 1) for line in lines.splitlines()]
    for (commit, ref), files in zip(refs, written(repo, [commit for commit, _ in refs]), strict=True):
        for folder in files:
            if pipeline in (None, folder):
                yield Record(repo, commit, ref, folder)


def same_run(repo: Path, one: str, other: str) -> bool:
    """Whether two commits are records of the same run."""
    runs = []
    for commit, folders in zip((one, other), written(repo, [one, other]), strict=True):
        about = Record(repo, commit, "", folders[0]).about if folders else {}
        runs.append((about.get("dag"), about.get("run_id")))
    return runs[0] == runs[1] != (None, None)


def started(repo: Path, commit: str) -> int:
    """When the run of a record was opened, in seconds since 1970: what its commit is dated by."""
    return int(git.git(repo, "show", "--no-patch", "--format=%ct", commit))


def _of_commit(repo: Path, name: str, known: list[str]) -> Record:
    try:
        commit = git.resolve(repo, name)
    except BadInput:
        close = get_close_matches(name, known, n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        raise BadInput(
            f"no record of a run or commit {name!r}{meant}", "make status, or .venv/bin/dvc exp show"
        ) from None
    folders = written(repo, [commit])[0]
    if not folders:
        raise BadInput(f"commit {commit[:12]} is no record of a run: it writes no {RUN_FILE}", ".venv/bin/dvc exp show")
    refs = git.git(repo, "for-each-ref", "--format=%(refname)", "--points-at", commit, f"{REFS}/").splitlines()
    return Record(repo, commit, refs[0] if refs else "", folders[0])


def written(repo: Path, commits: list[str]) -> list[list[str]]:
    """For each commit the folders whose run.json it wrote itself, not merely inherited; one git process for all."""
    if not commits:
        return []
    diff = ("diff-tree", "--stdin", "-r", "--root", "-m", "--name-only", "--", f"*/{RUN_FILE}")
    found: Mapping[str, list[str]] = {commit: [] for commit in commits}
    commit = ""
    for line in git.git(repo, *diff, stdin="\n".join(commits) + "\n").splitlines():
        if line.endswith(f"/{RUN_FILE}"):
            found[commit].append(line.removesuffix(f"/{RUN_FILE}"))
        else:
            commit = line.split()[0]
    return [found[commit] for commit in commits]


def _local(origin: str) -> Path:
    """A local repository that has the origin's records: the origin itself, else this clone, brought up to date."""
    if Path(origin).is_dir():
        return Path(origin)
    git.fetch(ROOT, origin, f"+{REFS}/*:{REFS}/*")
    return ROOT
