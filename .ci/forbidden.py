"""No data and no secrets in git: checks the files named on the command line.

Photographs, Parquet files and weights belong to DVC; keys belong nowhere. Pictures and large files are fine in docs/.
"""

import re
import sys
from pathlib import Path

LARGEST = 500_000
"""Bytes; more is data, whatever its name. Locks are text that only machines write."""
DATA = {".parquet", ".safetensors", ".onnx", ".pt", ".pth", ".jpg", ".jpeg", ".npz"}
SECRETS = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an AWS key": re.compile(rb"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(rb"\bgh[pousr]_[0-9A-Za-z]{36}\b"),
}


def complaints(file: Path) -> list[str]:
    """Why this file should not be in git; empty when it may."""
    content = file.read_bytes()
    found = [f"holds {what}" for what, pattern in SECRETS.items() if pattern.search(content)]
    if file.parts[0] != "docs" and file.name != "uv.lock":
        found += [f"is data ({file.suffix})"] if file.suffix.lower() in DATA else []
        found += [f"has {len(content):,} bytes, at most {LARGEST:,} are allowed"] if len(content) > LARGEST else []
    return found


def main() -> int:
    """Check the named files."""
    files = [Path(name) for name in sys.argv[1:]]
    found = [f"{file} {complaint}" for file in files if file.is_file() for complaint in complaints(file)]
    for line in found:
        print(f"error: {line}\n  next: git rm --cached {line.split()[0]}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
