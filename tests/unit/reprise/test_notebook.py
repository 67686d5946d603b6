"""A run's record for people in a notebook; pulling files by hash is the system tests' (test_faces.py)."""

from pathlib import Path

import nbformat
import pytest
from test_records import RUN
from test_records import origin as origin  # a fixture: a repository with three records

from reprise.errors import BadInput
from reprise.notebook import Run
from reprise.settings import ROOT, Settings


def test_a_run_by_its_id_and_the_newest(origin: Path) -> None:
    settings = Settings(origin=str(origin), var=origin / "var")
    run = Run(RUN, settings=settings)
    assert (run.name, run.params, repr(run)) == (RUN, {"a.b": RUN}, f"Run('{RUN}')")
    assert Run(pipeline="pipelines/q", settings=settings).record.pipeline == "pipelines/q"
    assert not settings.work.exists(), "nothing is cloned before a file is asked for"


def test_what_is_not_there_is_named(origin: Path) -> None:
    settings = Settings(origin=str(origin), var=origin / "var")
    with pytest.raises(BadInput, match=rf"run {RUN} has no output 'date'\n  next: use one of data"):
        Run(RUN, settings=settings).files("date")
    with pytest.raises(BadInput, match=r"no run of pipelines/none has been recorded"):
        Run(pipeline="pipelines/none", settings=settings)


def test_notebooks_are_committed_without_outputs() -> None:
    found = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert found
    for path in found:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs") and not cell.get("execution_count"), f"{path.name}: clear its outputs"
