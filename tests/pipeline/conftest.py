"""Small inboxes for the tests of stages: portraits, and one that holds every trouble."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for stages.py

from stages import SHARED


@pytest.fixture(scope="session")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inbox of 14 people with 3 photographs each on two dates: LFW's, else synthetic ones."""
    if not (SHARED / "lfw-inbox").is_dir():
        from synthetic.inbox import Settings, fill

        folder = tmp_path_factory.mktemp("synthetic")
        fill(folder, Settings(14, 3, 2, 1, 0.3, "2026-11-01"), 2)
        return folder
    folder = tmp_path_factory.mktemp("lfw")
    for date, people in (("2026-11-01", slice(0, 8)), ("2026-11-08", slice(20, 26))):
        for person in sorted((SHARED / "lfw-inbox" / date).iterdir())[people]:
            (folder / date / person.name).mkdir(parents=True)
            for photograph in sorted(person.iterdir())[:3]:
                shutil.copy(photograph, folder / date / person.name)
    return folder


@pytest.fixture(scope="session")
def troubled(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portraits, and on a third date odd images, an empty file, loose, copied and mislabelled ones."""
    folder = tmp_path_factory.mktemp("troubled") / "inbox"
    shutil.copytree(portraits, folder)
    last = folder / "2026-11-15"
    (last / "Odd").mkdir(parents=True)
    if (SHARED / "odd-images").is_dir():
        for path in (SHARED / "odd-images").iterdir():
            shutil.copy(path, last / "Odd")
    (last / "Odd" / "empty.jpg").touch()
    first, second = sorted(path for path in folder.rglob("*.jpg") if path.parts[-3] == "2026-11-01")[:2]
    shutil.copy(first, last / "loose.jpg")
    (last / first.parent.name).mkdir()
    shutil.copy(first, last / first.parent.name / "again.jpg")
    (last / "Wrong_Name").mkdir()
    shutil.copy(second, last / "Wrong_Name" / "mislabelled.jpg")
    return folder


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody disturbed, for all that are held against it."""
    from trainings import train_undisturbed

    return train_undisturbed(tmp_path_factory.mktemp("whole") / "faces")
