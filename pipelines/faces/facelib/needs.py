"""Files that a tool needs and may have to be brought first, by hand or by whoever started it."""

import sys
from collections.abc import Iterable
from pathlib import Path

LACKING = 3
"""Exit status of a tool whose files are not all there; those that are missing stand on standard output, one a line."""


def need(files: Iterable[Path]) -> None:
    """Ends the program with LACKING where one of the files is not there."""
    lacking = sorted({file for file in files if not file.exists()})
    if lacking:
        sys.stdout.writelines(f"{file}\n" for file in lacking)
        sys.stdout.flush()
        sys.exit(LACKING)
