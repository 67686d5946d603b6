"""What a container wrote, on its way into a workspace: outside of the container a link leads elsewhere."""

import os
from pathlib import Path

import pytest

from reprise import folders
from reprise.errors import RepriseError
from reprise.pipeline.stages import Out, Stage
from reprise.stage.sandbox import Sandbox
from reprise.workspace import Workspace


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """Of a stage that writes a folder and a file."""
    stage = Stage("s", ("true",), outs=(Out("data/out"), Out("results/m.json")))
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
    what = "a named pipe" if odd.endswith("pipe") else "a symbolic link"
    with pytest.raises(RepriseError, match=f"stage s: its output 'p/{odd}' is {what}"):
        sandbox.collect()
    assert (tmp_path / "secret/m.json").exists()


def test_what_was_not_written_is_named(sandbox: Sandbox) -> None:
    (sandbox.path / "p/results/m.json").unlink()
    with pytest.raises(RepriseError, match="did not write results/m.json"):
        sandbox.collect()


def test_names_that_dvc_cannot_write_down_are_refused(sandbox: Sandbox) -> None:
    (sandbox.path / "p/data/out" / os.fsdecode(b"\xff")).touch()
    with pytest.raises(RepriseError, match="has bytes in its name that are not UTF-8") as refused:
        sandbox.collect()
    str(refused.value).encode()


@pytest.mark.parametrize("odd", ["x" * 255, "é　日", "a\nb", "..x", "a b", "%2e%2e", "-rf", "C:\\a"])
def test_odd_names_that_dvc_can_keep_are_kept(sandbox: Sandbox, odd: str) -> None:
    (sandbox.path / "p/data/out" / odd).write_text(odd)
    sandbox.collect()
    assert (sandbox.workspace.folder / "data/out" / odd).read_text() == odd


def test_a_file_of_holes_that_fits_on_no_disk_is_refused_and_a_small_one_is_not(sandbox: Sandbox) -> None:
    os.truncate(sandbox.path / "p/results/m.json", 10**6)
    huge = sandbox.path / "p/data/out/huge"
    huge.touch()
    os.truncate(huge, 10**13)
    with pytest.raises(RepriseError, match="its output 'p/data/out' claims 10 TB that it does not hold"):
        sandbox.collect()
    huge.unlink()
    sandbox.collect()


def test_nothing_deeper_than_python_calls_itself_is_collected_and_all_is_removed(sandbox: Sandbox) -> None:
    here = os.open(sandbox.path / "p/data/out", os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=here)
        lower = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = lower
    os.close(here)
    with pytest.raises(RepriseError, match="nested more than 64 levels deep"):
        sandbox.collect()
    folders.clear(sandbox.path)
    assert not sandbox.path.exists()


def test_the_repository_replaced_by_a_link_leads_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    (sandbox.path / "p").rename(sandbox.path / "q")
    (sandbox.path / "p").symlink_to(tmp_path)
    (tmp_path / "data/out").mkdir(parents=True)
    with pytest.raises(RepriseError, match="its output 'p' is a symbolic link"):
        sandbox.collect()
    assert (tmp_path / "data/out").is_dir()


def test_hard_links_among_outputs_are_files_like_others(sandbox: Sandbox) -> None:
    os.link(sandbox.path / "p/results/m.json", sandbox.path / "p/data/out/again")
    sandbox.collect()
    assert (sandbox.workspace.folder / "data/out/again").read_text() == "{}"
