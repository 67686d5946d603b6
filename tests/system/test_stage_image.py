"""The stage image as the stages meet it: any user, no home, read-only, no network."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import docker, until

from reprise.machine import image

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL", "-u", "12345:12345"]
IMPORTS = "torch, torchvision, facenet_pytorch, pytorch_metric_learning, onnxruntime, cv2, pyarrow, sklearn, matplotlib.pyplot"
PROBE = f"""
import os, sys, {IMPORTS}
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.savefig("/tmp/x.png")
assert sys.dont_write_bytecode and sys.flags.hash_randomization == 0, sys.flags
assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
assert torch.__file__.startswith("/opt/venv/"), torch.__file__
for module in list(sys.modules.values()):
    cached = getattr(module, "__cached__", None)
    assert not isinstance(cached, str) or os.path.exists(cached), f"{{module}} has no bytecode in the image"
"""


def test_everything_imports_from_bytecode_for_any_user() -> None:
    command = ["docker", "run", *PRODUCTION, image.build(ROOT), "python", "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_image_keeps_nothing_of_the_build() -> None:
    command = ["docker", "run", *PRODUCTION, image.build(ROOT), "sh", "-c"]
    done = subprocess.run([*command, "ls -d /host /opt/uv; cat /etc/apt/sources.list"], capture_output=True, text=True)
    assert "/host\n" not in done.stdout
    assert "/opt/uv" not in done.stdout
    assert {line.split()[1] for line in done.stdout.splitlines()} == {
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The recipe with another first line, so that the image is no other's."""
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    with (tmp_path / "docker/stages.lock").open("a") as lock:
        lock.write(f"# {tmp_path}\n")
    return tmp_path


@pytest.mark.parametrize("end", ["fails", "Ctrl-C"])
def test_a_build_that_does_not_end_well_keeps_nothing_either(checkout: Path, end: str) -> None:
    """Least of all the credentials of the package index, which the build copies into a layer."""
    before = images()
    index = "http://ann:hidden@127.0.0.1:9/simple"
    build = f"import pathlib; from reprise.machine import image; image.build(pathlib.Path({str(checkout)!r}))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "PIP_INDEX_URL": index, "PYTHONUNBUFFERED": "1"}
    output = ""
    with subprocess.Popen(
        [sys.executable, "-c", build], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            output += line
            if end == "Ctrl-C" and "index.sh && python3" in line:
                process.send_signal(signal.SIGINT)
    assert ("building reprise-stages" in output) and (
        "RepriseError" if end == "fails" else "KeyboardInterrupt"
    ) in output
    assert "index.sh && python3" in output, "the build has not come to the index"
    assert "hidden" not in output
    assert not [image_id for image_id in images() - before if "/host/" in history(image_id)]
    until(lambda: "index.sh" not in docker("ps", "--all", "--no-trunc"), 30, "the build's container is removed")
    assert not [image_id for image_id in images() - before if "/host/" in history(image_id)], "the daemon has gone on"


def images() -> set[str]:
    """Every image and layer of the daemon."""
    return set(docker("images", "--all", "--quiet", "--no-trunc").split())


def history(image_id: str) -> str:
    """What made an image; empty if it is gone meanwhile."""
    command = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image_id]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
