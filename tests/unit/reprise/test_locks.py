"""One lock: what is exported or repeated elsewhere says the same, and what must not be in git is refused."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_exported_locks_are_fresh() -> None:
    done = subprocess.run([ROOT / "docker/check-locks"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("group", ["stages", "repro"])
def test_everything_in_the_image_is_pinned_by_hash(group: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / f"docker/{group}.lock").read_text(), flags=re.MULTILINE)[1:]
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    named = {re.split(r"[=\[ ]", entry)[0] for entry in entries}
    assert {re.split(r"[=>\[ ]", need)[0] for need in PROJECT["dependency-groups"][group]} <= named


def test_conda_users_get_the_same_lock_and_interpreter() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, packages = environment["dependencies"]
    assert packages == {"pip": ["-r docker/stages.lock"]}
    assert python.replace("=", "==", 1) + ".*" == "python" + PROJECT["project"]["requires-python"]


def test_one_version_of_uv() -> None:
    texts = [(ROOT / f"docker/{name}").read_text() for name in ("Dockerfile", "repro.Dockerfile", "ensure-uv")]
    assert len({re.search(r"(?:uv==|pinned=)([\d.]+)", text)[1] for text in texts}) == 1  # type: ignore[index]


KEY = "-----BEGIN " + "RSA PRIVATE KEY-----"
AWS = "AKIA" + "ABCDEFGHIJKLMNOP"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.py", "x = 1\n", ""),
        ("a.txt", KEY, "a.txt holds a private key"),
        ("docs/a.md", f"key {AWS} here", "docs/a.md holds an AWS key"),
        ("a.parquet", "PAR1", "a.parquet is data (.parquet)"),
        ("docs/a.jpg", "x", ""),
        ("a.csv", "x" * 500_001, "a.csv has 500,001 bytes, at most 500,000 are allowed"),
    ],
)
def test_data_and_secrets_are_refused(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    command = [sys.executable, str(ROOT / ".ci/forbidden.py"), name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if complaint else 0)
    assert complaint in done.stderr
