"""The stage image as the stages meet it: any user, no home, read-only, no network."""

import subprocess
from pathlib import Path

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
