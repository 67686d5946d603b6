"""A past that changed is told: what was added, changed or vanished since a record took it."""

import json
from pathlib import Path

from repository import repository

from reprise import git
from reprise.pipeline.stages import Pipeline
from reprise.run.relisted import lines, since_records
from reprise.settings import Settings

FOLDER = "pipelines/text"


def entries(**content: str) -> list[dict[str, str]]:
    return [{"path": path, "sha256": sha256} for path, sha256 in content.items()]


def remember(repo: Path, run_id: str, inbox: str, partitions: dict[str, list[dict[str, str]]]) -> None:
    """A record as a finished run leaves it."""
    head = git.resolve(repo, "HEAD")
    files = {
        f"{FOLDER}/run.json": json.dumps({"run_id": run_id, "inbox": inbox}).encode(),
        f"{FOLDER}/source.json": json.dumps({"partitions": partitions}).encode(),
    }
    commit = git.commit_files(repo, head, files, run_id)
    git.git(repo, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{run_id}", commit)


def test_each_date_is_held_against_the_record_that_took_it(tmp_path: Path) -> None:
    repository(tmp_path)
    first = {"2026-11-01": entries(a="1", b="1", c="1"), "2026-11-08": entries(d="1")}
    remember(tmp_path, "one", "/inbox", first)
    remember(tmp_path, "other", "/other", {"2026-11-01": entries(z="1")})
    settings, pipeline = Settings(origin=str(tmp_path)), Pipeline(FOLDER, ())

    def since(now: dict[str, list[dict[str, str]]]) -> dict[str, dict[str, object]]:
        return since_records(settings, pipeline, "/inbox", {"partitions": now}, None)

    assert since({**first, "2026-11-15": entries(e="1")}) == {}
    found = since({"2026-11-01": entries(a="2", b="1", n="1")})
    assert found == {
        "2026-11-01": {
            "added": {"count": 1, "paths": ["n"]},
            "changed": {"count": 1, "paths": ["a"]},
            "vanished": {"count": 1, "paths": ["c"]},
        },
        "2026-11-08": {"vanished": {"count": 1, "paths": ["d"]}},
    }
    assert lines(found) == [
        "2026-11-01 is not what an earlier run took: 1 added (n); 1 changed (a); 1 vanished (c)",
        "2026-11-08 is not what an earlier run took: 1 vanished (d)",
    ]
