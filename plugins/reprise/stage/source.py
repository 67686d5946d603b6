"""What a source stage gets beside its dependencies: the inbox, the network, one connection and a place to resume from."""

import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from docker.types import Mount

from reprise import untrusted
from reprise.settings import Settings, load
from reprise.sources import connection, inbox
from reprise.sources.stores import absolute, is_local

INBOX = "/inbox"
"""Where a source stage finds an inbox of this machine."""
_CONNECTION = "/connection"
_SCRATCH = "/scratch"
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Source:
    """The world as one source stage of one run sees it."""

    inbox: str
    folder: Path
    """The task's own, removed with it: holds the connection."""
    scratch: Path
    """What a broken download leaves for the next try, or for the next run with the same listing."""

    @classmethod
    def prepare(cls, settings: Settings, place: str, listing: str, folder: Path) -> "Source":
        """Write the connection, and make or find the scratch folder.

        :param place: the run's inbox.
        :param listing: the hash of its listing.
        :param folder: the task's own folder.
        """
        root, _ = inbox.split(place)
        if not is_local(root):
            connection.write(root, connection.options(settings, root), folder / "connection")
        scratch = settings.var / "scratch" / hashlib.sha256(f"{root}\0{listing}".encode()).hexdigest()[:16]
        _forget(scratch.parent)
        scratch.mkdir(parents=True, exist_ok=True)
        return cls(root, folder, scratch)

    @property
    def environment(self) -> dict[str, str]:
        """INBOX (a folder or URL), SCRATCH, and where fsspec looks for its configuration."""
        if is_local(self.inbox):
            return {"INBOX": INBOX, "SCRATCH": _SCRATCH}
        return {"INBOX": self.inbox, "SCRATCH": _SCRATCH, "FSSPEC_CONFIG_DIR": _CONNECTION}

    @property
    def mounts(self) -> list[Mount]:
        """Binds beside the sandbox's own."""
        scratch = Mount(_SCRATCH, str(self.scratch.resolve()), "bind")
        if is_local(self.inbox):
            return [scratch, Mount(INBOX, str(Path(self.inbox).resolve()), "bind", read_only=True)]
        return [scratch, Mount(_CONNECTION, str((self.folder / "connection").resolve()), "bind", read_only=True)]

    def done(self) -> None:
        """Forget what a next try would have used."""
        untrusted.try_remove(self.scratch)


def by_hand(settings: Settings, place: str, folder: Path) -> list[str]:
    """The options of `docker run` that give a container the same world, without Airflow.

    :param folder: an empty folder, which will hold the connection.
    """
    source = Source.prepare(settings, place, "by hand", folder)
    network = "none" if is_local(source.inbox) and not inbox.split(place)[1] else "bridge"
    binds = [f"{m['Source']}:{m['Target']}{':ro' if m['ReadOnly'] else ''}" for m in source.mounts]
    variables = [f"{name}={value}" for name, value in source.environment.items()]
    return ["--network", network, *(f"-v{bind}" for bind in binds), *(f"-e{variable}" for variable in variables)]


def _forget(folder: Path) -> None:
    """Remove what broken downloads left a day ago or earlier: the world has moved on."""
    for left in folder.glob("*"):
        # By ctime: a container can set the other times, to the year 3000 say.
        if left.lstat().st_ctime < time.time() - _KEPT_SECONDS:
            untrusted.try_remove(left)


if __name__ == "__main__":
    print("\n".join(by_hand(load(), absolute(sys.argv[1]), Path(sys.argv[2]))))
