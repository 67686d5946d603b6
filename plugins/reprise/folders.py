"""The folders in which tasks work: named after DAG, run and task, removed when they are done."""

import hashlib
import re
from pathlib import Path

from reprise import untrusted
from reprise.settings import Settings

_PLAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]|\.(?!\.|lock$|$))*")
"""Names that every file system and git take as they are. No capitals: some file systems do not tell them apart."""
_LONGEST = 150
"""Characters: a file's name may have 255, and git or a suffix wants some of them."""
_HASH = 8


def slug(text: str, of: str = "") -> str:
    """``text`` as a file's name or a part of a git ref's: itself if possible, else something like it and a hash.

    Different texts have different names: a name with a hash contains ``=``, one without does not.

    :param of: name this, which ``text`` does not tell from everything else, by a hash in any case.
    """
    if not of and len(text) <= _LONGEST and _PLAIN.fullmatch(text):
        return text
    like = re.sub(r"[^A-Za-z0-9._-]+|\.{2,}", "-", text)[: _LONGEST - 1 - _HASH].strip("-.")
    return f"{like}={hashlib.sha256((of or text).encode(errors='surrogatepass')).hexdigest()[:_HASH]}"


def task_folder(settings: Settings, dag_id: str, run_id: str, task_id: str) -> Path:
    """Where one task of one run works; every try of it uses the same, so that the next finds what one left."""
    return settings.work / slug(dag_id) / slug(run_id) / slug(task_id)


def clear(folder: Path) -> None:
    """Remove a task's folder, and its run's and DAG's once they are empty."""
    untrusted.try_remove(folder)
    for parent in (folder.parent, folder.parent.parent):
        try:
            parent.rmdir()
        except OSError:  # another task still works there
            return
