"""A newcomer finds the file to open: the package's map names every module once, and no other."""

from pathlib import Path

import reprise


def test_the_map_names_every_module_once() -> None:
    assert reprise.__doc__ and reprise.__file__
    table = reprise.__doc__.split("\n\n")[2]
    named = [name.strip() for line in table.splitlines() for name in line[20:].split(",")]
    modules = [path.stem for path in Path(reprise.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert sorted(named) == sorted(modules)
