"""What a stage that reads the inbox gets beside its dependencies: the inbox, one connection and a place to resume from."""

import hashlib
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from docker.types import Mount

from reprise import untrusted
from reprise.errors import BadInput, RepriseError
from reprise.pipeline import manifest, stages
from reprise.pipeline.stages import Pipeline
from reprise.settings import Settings, load
from reprise.sources import connection, inbox
from reprise.sources.stores import absolute, is_local

INBOX = "/inbox"
"""Where a stage finds an inbox of this machine."""
_CONNECTION = "/connection"
_SCRATCH = "/scratch"
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Source:
    """The inbox as one stage of one run sees it."""

    inbox: str
    network: str
    """Docker network that the inbox needs: ``none`` if it is a folder of this machine that lists no URLs."""
    folder: Path
    """The task's own, removed with it: holds the connection."""
    scratch: Path
    """What a broken download leaves for the next try of the same task, and for nothing else: what is kept there without
    a digest is as good as the network was at that moment."""

    @classmethod
    def prepare(cls, settings: Settings, place: str, listing: Path, folder: Path, scratch: Path) -> "Source":
        """Write the connection, and make the scratch folder.

        :param place: the run's inbox.
        :param listing: what the stage sees of the inbox.
        :param folder: the task's own folder.
        """
        root, _ = inbox.split(place)
        if not is_local(root):
            connection.write(root, connection.options(settings, root), folder / "connection")
        scratch.mkdir(parents=True, exist_ok=True)
        needed = inbox.is_elsewhere(place, json.loads(listing.read_text()))
        return cls(root, "bridge" if needed else "none", folder, scratch)

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


def scratch_of(settings: Settings, folder: Path) -> Path:
    """Where a task keeps what its next try goes on from; ``folder`` is the task's own, the same in every try."""
    kept = settings.var / "scratch"
    for left in kept.glob("*"):
        with suppress(OSError):  # another task removed it
            # By ctime: a container can set the other times, to the year 3000 say.
            if left.lstat().st_ctime < time.time() - _KEPT_SECONDS:
                untrusted.try_remove(left)
    return kept / hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def by_hand(settings: Settings, pipeline: Pipeline, place: str, listing: Path, folder: Path) -> list[str]:
    """The options of `docker run` that give one container what all stages of a pipeline get, without Airflow.

    :param folder: an empty folder, which will hold the connection.
    :raises BadInput: if the stages name several networks; one container has one.
    """
    source = Source.prepare(settings, place, listing, folder, folder / "scratch") if pipeline.reads_inbox else None
    asked = {stage.meta.network or "none" for stage in pipeline.stages}
    networks = sorted({source.network if source and name == stages.INBOX else name for name in asked} - {"none"})
    if len(networks) > 1:
        raise BadInput(
            f"the stages of {pipeline.path} have the networks {' and '.join(networks)}, and one container has one",
            f"name one network in {pipeline.path}/dvc.yaml, or run it in Airflow: make run PIPELINE={pipeline.path}",
        )
    mounts, variables = (source.mounts, source.environment) if source else ([], {})
    return [
        *("--network", networks[0] if networks else "none"),
        *(f"-v{mount['Source']}:{mount['Target']}{':ro' if mount['ReadOnly'] else ''}" for mount in mounts),
        *(f"-e{name}={value}" for name, value in variables.items()),
    ]


def main(place: str, path: str, checkout: str, folder: str) -> None:
    """Print what :func:`by_hand` says, an option a line."""
    settings = load()
    try:
        pipeline = manifest.load(Path(checkout), path.rstrip("/"), settings.var / "manifests")
        listing = Path(checkout, path, manifest.LISTING)
        print("\n".join(by_hand(settings, pipeline, absolute(place), listing, Path(folder))))
    except RepriseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
