"""A finished run in a notebook: ``Run("faces-20261123-232956")`` has its parameters, numbers, data and model."""

import shutil
import tempfile
import weakref
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprise.errors import BadInput
from reprise.run import records
from reprise.settings import Settings, load
from reprise.tracking.mlflow_server import Tracker
from reprise.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa


class Run:
    """What a run's record holds; its files are brought by their hashes when they are asked for.

    The files lie in a clone of the record that is removed with the object. They are links into DVC's cache where the
    filesystem has such, so they cannot be written to: copy what is to be changed.
    """

    def __init__(self, name: str | None = None, pipeline: str | None = None, settings: Settings | None = None) -> None:
        """
        :param name: the run's id, its name in ``dvc exp show`` or its commit; None: the newest run.
        :param pipeline: the folder whose newest run is meant; None: any.
        :raises BadInput: where there is no such run.
        """
        self._settings = settings or load()
        self.record = records.find(self._settings.origin, name) if name else _newest(self._settings.origin, pipeline)
        self.name = self.record.name

    def __repr__(self) -> str:
        return f"Run({self.name!r})"

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter's value by its dotted name."""
        return self.record.params

    @property
    def metrics(self) -> dict[str, float]:
        """The final numbers."""
        return dict(self.record.metrics)

    @property
    def models(self) -> dict[str, str]:
        """Registered model's name → version; MLflow is asked where it was away when the run was recorded."""
        return self.record.about["models"] or self.record.models(Tracker(self._settings.mlflow).versions() or [])

    @cached_property
    def _workspace(self) -> Workspace:
        self._settings.work.mkdir(parents=True, exist_ok=True)
        # Below work/: on one filesystem with the cache, so that data is linked and not copied.
        folder = Path(tempfile.mkdtemp(prefix="notebook-", dir=self._settings.work))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        here = replace(self._settings, origin=str(self.record.repo))
        return Workspace.create(here, folder, self.record.pipeline, self.record.commit)

    def files(self, path: str) -> list[Path]:
        """The local files of an output (``data/aligned``, ``models/model.onnx``), sorted; from cache or remote.

        :raises BadInput: where the run has no such output.
        :raises RepriseError: where neither cache nor remote holds it.
        """
        if path not in self.record.outs:
            raise BadInput(
                f"run {self.name} has no output {path!r}", f"use one of {', '.join(sorted(self.record.outs))}"
            )
        self._workspace.pull([path])
        place = self._workspace.folder / path
        return sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]

    def file(self, path: str) -> Path:
        """The local file of an output that is one file.

        :raises BadInput: where it is a folder of several, or no output.
        """
        found = self.files(path)
        if len(found) != 1:
            raise BadInput(f"{path} of run {self.name} holds {len(found)} files", f"run.files({path!r})")
        return found[0]

    def table(self, path: str, columns: list[str] | None = None) -> "pa.Table":
        """The rows of an output of Parquet files, all partitions one after the other."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pa.concat_tables([pq.read_table(file, columns=columns) for file in self.files(path)])


def _newest(origin: str, pipeline: str | None) -> records.Record:
    found = list(records.every(origin, pipeline))
    if not found:
        raise BadInput(f"no run {f'of {pipeline} ' if pipeline else ''}has been recorded in {origin}", "make demo")
    return found[-1]
