"""What a container wrote, on its way into a workspace: outside of the container a link leads elsewhere."""

import os
from pathlib import Path

import pytest

from reprise.errors import RepriseError
from reprise.pipeline.stages import Out, Stage
from reprise.stage.sandbox import Sandbox
from reprise.workspace import Workspace


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """Of a stage that writes a folder and a file."""
    stage = Stage("s", "true", outs=(Out("data/out"), Out("results/m.json")))
    (tmp_path / "clone/p").mkdir(parents=True)
    made = Sandbox.build(Workspace(tmp_path / "clone", "p"), stage, tmp_path / "box", tmp_path / "live")
    (made.path / "p/data/out/part").mkdir(parents=True)
    (made.path / "p/data/out/part/a").write_text("a")
    (made.path / "p/results/m.json").write_text("{}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/m.json").write_text("of the host")
    return made


def test_outputs_are_moved_in_place_of_older_ones(sandbox: Sandbox) -> None:
    older = sandbox.workspace.folder / "data/out"
    older.mkdir(parents=True)
    (older / "left").touch()
    sandbox.collect()
    assert [path.relative_to(older).as_posix() for path in older.rglob("*") if path.is_file()] == ["part/a"]
    assert (sandbox.workspace.folder / "results/m.json").read_text() == "{}"


@pytest.mark.parametrize("odd", ["data/out/part/b", "data/out/pipe", "results/m.json", "results"])
def test_links_and_pipes_are_refused_and_named(sandbox: Sandbox, odd: str, tmp_path: Path) -> None:
    place = sandbox.path / "p" / odd
    if odd == "results":
        (place / "m.json").unlink()
        place.rmdir()
    place.unlink(missing_ok=True)
    if odd.endswith("pipe"):
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "secret" if odd == "results" else tmp_path / "secret/m.json")
    said = "p/results/m.json" if odd == "results" else f"p/{odd}"
    with pytest.raises(RepriseError, match=f"its output {said} is a link, or no file at all"):
        sandbox.collect()
    assert (tmp_path / "secret/m.json").exists()


def test_what_was_not_written_is_named(sandbox: Sandbox) -> None:
    (sandbox.path / "p/results/m.json").unlink()
    with pytest.raises(RepriseError, match="did not write results/m.json"):
        sandbox.collect()
