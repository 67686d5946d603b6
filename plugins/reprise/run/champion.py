"""The champion: the model in use. ``open`` pins it, or its absence, as a dep of the one stage that sees the past.

It travels by content, as source.json does: ``champion/champion.json`` (name, version, md5) and the model's file,
which cache and remote hold under that md5. The registry's alias says which version it is.
"""

import datetime as dt
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from reprise.errors import BadInput, RepriseError, TryAgain
from reprise.messages import Champion, Entry
from reprise.pipeline import manifest
from reprise.pipeline.stages import Pipeline, written
from reprise.settings import Settings
from reprise.tracking.mlflow_server import Tracker
from reprise.workspace import Workspace

ALIAS = "champion"
FILE = "champion.json"
BEFORE = "champion.before"
"""Tag of a promoted version: the pin of the champion that it was compared with."""
AS_OF = "champion.as_of"
"""Tag of a promoted version: nothing that arrived later than this was seen when it was made."""
RUN = "champion.run"
"""Tag of a promoted version: the run that made it champion."""


def pin(tracker: Tracker, name: str, past: bool, as_of: dt.datetime | None = None) -> Champion:
    """The champion of the registered model ``name``, for a run that is opened now.

    :param past: the run asks for a past date. It sees no champion, which would come from its future, and moves none.
    :param as_of: the run's date, where it has one: an old scheduled run that is cleared is past, too.
    :raises BadInput: where the champion was registered by something else than a run, so that nobody knows its bytes.
    """
    if past:
        return Champion(pin={}, version=None, why="a run of a past date sees no champion and makes none")
    held = tracker.alias(name, ALIAS)
    if held is None:
        return Champion(pin={}, version=None, why="MLflow did not answer when the run was opened")
    if not held:
        return Champion(pin={}, version="", why=f"{name} has no champion yet")
    if as_of and AS_OF in held and as_of < dt.datetime.fromisoformat(held[AS_OF]):
        why = f"version {held['version']} became champion on newer data ({held[AS_OF][:16]})"
        return Champion(pin={}, version=None, why=why)
    if "md5" not in held:
        raise BadInput(
            f"the champion of {name} is version {held['version']}, which no run has registered (it has no tag md5)",
            f"give the alias {ALIAS} to another version: {tracker.uri}/#/models/{name}",
        )
    known = {"name": name, "version": held["version"], "md5": held["md5"]}
    return Champion(pin=known, version=held["version"], why=f"{name} version {held['version']} is champion")


def before(tracker: Tracker, champion: Champion, pipeline: Pipeline, known: Mapping[str, Entry]) -> Champion | None:
    """The pin to use where the run's model will be the champion itself: what that was compared with when it won.

    So a run with nothing new asks for a comparison that was made before, and no container starts.
    None where the model is another, or is not known before it is made.
    """
    stage = pipeline.comparing
    if not (stage and stage.meta.champion and champion["pin"]):
        return None
    model = pipeline.artifact(stage.meta.champion)
    made = {
        path: out.get("md5")
        for stage in pipeline.stages
        if stage.name in known
        for path, out in written(stage, known[stage.name]).items()
    }
    if made.get(model.path) != champion["pin"]["md5"]:
        return None
    held = tracker.alias(model.name, ALIAS) or {}
    if held.get("version") != champion["version"] or BEFORE not in held:
        return None
    return Champion(
        pin=json.loads(held[BEFORE]), version=champion["version"], why=f"{champion['why']}, and is this run's model"
    )


def place(workspace: Workspace, pipeline: Pipeline, pinned: Mapping[str, str]) -> None:
    """Put the pinned champion where the comparing stage reads it.

    :raises RepriseError: where neither cache nor remote holds its bytes any more.
    """
    stage = pipeline.comparing
    assert stage and stage.meta.champion
    folder = workspace.folder / manifest.CHAMPION
    folder.mkdir(exist_ok=True)
    file = folder / pipeline.artifact(stage.meta.champion).path.rsplit("/", 1)[-1]
    file.unlink(missing_ok=True)
    if pinned:
        try:
            workspace.get(pinned["md5"], file)
        except TryAgain:
            raise
        except (RepriseError, FileNotFoundError) as error:
            raise BadInput(
                _lost(pinned),
                ".venv/bin/dvc remote list says which remote was asked; where it is the right one, give the alias"
                f" {ALIAS} to another version",
            ) from error
    (folder / FILE).write_bytes(dump(pinned))


def _lost(pinned: Mapping[str, str], remote: str = "") -> str:
    which = f"{pinned['name']} version {pinned['version']}"
    return f"the champion {which} is neither in the cache nor in the remote{remote} (md5 {pinned['md5']})"


def dump(pinned: Mapping[str, str]) -> bytes:
    """The bytes of champion.json; ``{}`` says that there is none."""
    return (json.dumps(dict(pinned), indent=1, sort_keys=True) + "\n").encode()


def bring(settings: Settings, pipeline: Pipeline, folder: Path) -> None:
    """Put the champion that a record was compared with beside its champion.json, to make the run again by hand.

    :param folder: the pipeline's, in any checkout; the bytes come from this installation's cache or remote, in a
        worktree also from the remote of the checkout that it is one of.
    :raises BadInput: where none of them holds its bytes.
    """
    file = folder / manifest.CHAMPION / FILE
    pinned = json.loads(file.read_text()) if file.exists() else {}
    if not (pipeline.comparing and pinned):
        return
    workspace = Workspace.create(settings, settings.work / "bring" / uuid4().hex, pipeline.path, "HEAD")
    try:
        if workspace.lost([pinned["md5"]]):
            workspace.borrow()
        if workspace.lost([pinned["md5"]]):
            name, url = workspace.remote
            raise BadInput(
                f"{_lost(pinned, f' {url}')}; this run was compared with it",
                "in the clone that made the run, .venv/bin/dvc remote list says where it is; here then:"
                f" .venv/bin/dvc remote modify --local {name} url FOLDER",
            )
        place(workspace, pipeline, pinned)
        for found in (workspace.folder / manifest.CHAMPION).iterdir():
            shutil.copyfile(found, file.parent / found.name)
    finally:
        workspace.remove()
