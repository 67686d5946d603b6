"""Small files kept beside DVC's objects, in this node's cache and in the remote: what was made of what."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

_DRAFT = ".tmp"


class Notes:
    """Files by relative path. A reader never meets half a file, and many cost few requests.

    :param local: the folder in this node's cache.
    :param fs: the remote's file system, one of DVC's (its ``put_file`` on a local one renames, as S3's is atomic).
    :param remote: the folder there.
    """

    def __init__(self, local: Path, fs: Any, remote: str) -> None:
        self.local, self._fs, self._remote = local, fs, remote

    def write(self, path: str, content: bytes) -> None:
        """Keep ``content`` here; :meth:`push` brings it to the remote."""
        kept = self.local / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = self.local / f".{uuid4().hex}{_DRAFT}"  # not beside it: DVC reads what lies there
        draft.write_bytes(content)
        draft.replace(kept)

    def push(self, paths: Iterable[str]) -> None:
        """Copy these files to the remote, in place of what it has under their names."""
        wanted = sorted(paths)
        if wanted:
            theirs = [self._fs.join(self._remote, *path.split("/")) for path in wanted]
            self._fs.put([str(self.local / path) for path in wanted], theirs)

    def find(self, folder: str) -> list[str]:
        """What the remote has in ``folder``, sorted: one question."""
        theirs = self._fs.join(self._remote, *folder.split("/"))
        return sorted(
            f"{folder}/{self._fs.name(found)}" for found in self._fs.find(theirs) if not found.endswith(_DRAFT)
        )

    def fetch(self, paths: Iterable[str]) -> None:
        """Copy these files, which the remote has, to here."""
        wanted = sorted(paths)
        drafts = [self.local / f".{uuid4().hex}{_DRAFT}" for _ in wanted]
        try:
            if wanted:
                theirs = [self._fs.join(self._remote, *path.split("/")) for path in wanted]
                self._fs.get(theirs, [str(draft) for draft in drafts])
            for path, draft in zip(wanted, drafts, strict=True):
                (self.local / path).parent.mkdir(parents=True, exist_ok=True)
                draft.replace(self.local / path)
        finally:
            for draft in drafts:  # where the remote broke off
                draft.unlink(missing_ok=True)
