"""The folders in which tasks work: named after DAG, run and task, removed when they are done."""

import re
from pathlib import Path

from reprise import untrusted
from reprise.settings import Settings


def slug(text: str) -> str:
    """``text`` with everything but letters, digits, dot, dash and underscore replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


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
