"""Stages run as in production: each sees what dvc.yaml declares and nothing else."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PIPELINE = REPOSITORY / "pipelines" / "faces"
SHARED = REPOSITORY.parent / "shared" / "data"

STAGES: dict[str, Any] = yaml.safe_load((PIPELINE / "dvc.yaml").read_text())["stages"]
DATA_STAGES = ("download", "detect", "align", "clean", "data_gate", "split", "data_report")


class Place:
    """A folder for the outputs of stages; each stage runs in a sandbox of its own."""

    def __init__(self, folder: Path, inbox: Path, **overrides: Mapping[str, Any]) -> None:
        self.folder, self.inbox = folder, inbox
        self.params = yaml.safe_load((PIPELINE / "params.yaml").read_text())
        for stage, values in overrides.items():
            self.params[stage] = {**self.params[stage], **values}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "source.json").write_text(json.dumps({"partitions": listing(inbox)}))

    def run(self, stage: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a stage; where it succeeds its outs are in `folder` then."""
        sandbox = self.folder / "sandbox" / stage
        shutil.rmtree(sandbox, ignore_errors=True)
        for dep in STAGES[stage]["deps"]:
            if not dep.startswith("${"):
                target = sandbox / dep
                target.parent.mkdir(parents=True, exist_ok=True)
                source = self.folder / dep if (self.folder / dep).exists() else PIPELINE / dep
                target.symlink_to(source)
        sections = {name: self.params[name] for name in STAGES[stage]["params"]}
        (sandbox / "params.yaml").write_text(yaml.safe_dump(sections))
        done = subprocess.run(
            STAGES[stage]["cmd"].replace("python", sys.executable, 1).split(),
            check=False,
            cwd=sandbox,
            env={**os.environ, "INBOX": str(self.inbox), **environment},
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            for out in outs(stage):
                old = self.folder / out
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
                old.parent.mkdir(parents=True, exist_ok=True)
                (sandbox / out).rename(old)
        return done

    def bytes(self, stage: str) -> dict[str, str]:
        """Hashes of a stage's outputs by path."""
        files = [
            path
            for out in outs(stage)
            for path in sorted([self.folder / out, *(self.folder / out).rglob("*")])
            if path.is_file()
        ]
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }


def outs(stage: str) -> list[str]:
    """What a stage of the data writes."""
    return [*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])]


def listing(inbox: Path) -> dict[str, list[dict[str, str | int]]]:
    """The inbox's files by arrival date, as the orchestrator lists them."""
    partitions: dict[str, list[dict[str, str | int]]] = {}
    for path in sorted(path for path in inbox.rglob("[!.]*") if path.is_file()):
        name, data = path.relative_to(inbox), path.read_bytes()
        entry = {"path": name.as_posix(), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        partitions.setdefault(name.parts[0], []).append(entry)
    return partitions
