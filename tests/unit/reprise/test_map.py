"""A newcomer finds the place to open: the package's map names every folder once, and every file says what it is."""

import ast
from pathlib import Path

import reprise

PACKAGE = Path(reprise.__path__[0])


def test_the_map_names_every_folder_once() -> None:
    assert reprise.__doc__
    table = reprise.__doc__.split("\n\n")[2]
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert sorted(line.split()[0] for line in table.splitlines()) == sorted(folders)


def test_every_file_says_in_its_first_line_what_it_is() -> None:
    for path in PACKAGE.rglob("*.py"):
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc and doc.splitlines()[0].endswith((".", ":")), path
