"""LFW's pairs.txt: which pairs of photographs are verified, in which fold.

Format (Huang et al., "Labeled Faces in the Wild", UMass Amherst TR 07-49, 2007; the file's README): the first line
holds the number of folds and of same pairs a fold ("10 300"); then, fold by fold, so many lines NAME n1 n2 (two
photographs of one person) and as many lines NAME1 n1 NAME2 n2 (of two). NAME n is the photograph NAME/NAME_000n.jpg.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ABSENT = "no aligned face"
"""Why a photograph cannot be verified that never arrived, or in which no face was found."""


class Photograph(NamedTuple):
    """One of a person's photographs."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}_{self.number:04}"


@dataclass(frozen=True)
class Line:
    """A pair that the protocol asks for."""

    fold: int
    a: Photograph
    b: Photograph

    @property
    def same(self) -> bool:
        """Whether it is one person."""
        return self.a.name == self.b.name


def read(path: Path) -> list[Line]:
    """All pairs of the file, in its order. Raises SystemExit with the line that is wrong."""
    rows = [
        (number, line.split())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not rows:
        raise SystemExit(f"split: {path} holds no pairs; put LFW's pairs.txt there, or set split.protocol to drawn")
    first, header = rows[0]
    if len(header) != 2 or not all(_is_number(word) for word in header):
        raise SystemExit(f"split: {path}, line {first}: the first line must be FOLDS PAIRS such as 10 300")
    folds, count = map(int, header)
    if len(rows) - 1 != 2 * folds * count:
        raise SystemExit(
            f"split: {path} has {len(rows) - 1} pairs, its first line says {folds} folds of twice {count};"
            " take the whole file, or correct that line"
        )
    return [_parse(path, place, words, index, count) for index, (place, words) in enumerate(rows[1:])]


def _parse(path: Path, place: int, words: list[str], index: int, count: int) -> Line:
    fold, same = index // (2 * count), index % (2 * count) < count
    shape = [_is_number(word) for word in words]
    if same and shape == [False, True, True]:
        a, b = Photograph(words[0], int(words[1])), Photograph(words[0], int(words[2]))
    elif not same and shape == [False, True, False, True] and words[0] != words[2]:
        a, b = Photograph(words[0], int(words[1])), Photograph(words[2], int(words[3]))
    else:
        wanted = "NAME n1 n2" if same else "NAME1 n1 NAME2 n2"
        raise SystemExit(f"split: {path}, line {place} is {' '.join(words)!r}, a pair {wanted} was expected there")
    return Line(fold, a, b)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def people(lines: list[Line]) -> set[str]:
    """Everybody whom the protocol tests; nobody of them may be trained on."""
    return {photograph.name for line in lines for photograph in (line.a, line.b)}


def photographs(rows: list[dict[str, str]]) -> Iterator[tuple[Photograph, dict[str, str]]]:
    """Rows (with `identity` and `path`) whose file is named as in LFW: PERSON/PERSON_0001.jpg, below any date."""
    for row in rows:
        name, _, number = PurePosixPath(row["path"]).stem.rpartition("_")
        if name and name == row["identity"] and _is_number(number):
            yield Photograph(name, int(number)), row


def missing(line: Line, kept: Mapping[Photograph, str], reasons: Mapping[Photograph, str]) -> str:
    """Why a pair cannot be verified: each photograph that is not kept, and the reason; empty where it can."""
    gone = dict.fromkeys(photograph for photograph in (line.a, line.b) if photograph not in kept)
    return "; ".join(f"{photograph}: {reasons.get(photograph, ABSENT)}" for photograph in gone)
