"""The numbers in metrics files, read as DVC reads them: JSON, YAML, TOML or Python, with whatever stages write there.

DVC shows metrics by file. Here each has one name, by which MLflow, ``run.json`` and people find it.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from reprise import untrusted
from reprise.errors import RepriseError
from reprise.pipeline.stages import Stage

log = logging.getLogger(__name__)

_MOST_BYTES = 16 * 1024**2
_MOST_VALUES = 100_000
"""A few lines of YAML whose aliases name one another stand for billions of values."""


def parse(file: str, content: bytes) -> dict[str, Any]:
    """The values of a metrics file by name, nested names joined by dots; one bare value is named after the file.

    The file's ending chooses the parser, as in DVC.

    :raises ValueError: if it cannot be parsed, or holds too much.
    """
    from dvc.utils.serialize import PARSERS

    suffix = PurePosixPath(file).suffix.lower()
    try:
        if len(content) > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES // 1024**2} MiB")
        values = PARSERS[suffix](content.decode(), file)
        return _joined(file, values)
    except Exception as error:  # a stage may write anything, and four parsers raise what they like
        what = {".json": "JSON", ".toml": "TOML", ".py": "Python"}.get(suffix, "YAML")
        reason = error.__cause__ or error
        raise ValueError(f"cannot be read as {what}: {str(reason)[:500] or type(reason).__name__}") from error


def _joined(file: str, values: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    named = values if isinstance(values, Mapping) else {PurePosixPath(file).stem: values}
    for count, (name, value) in enumerate(_walk(named, "")):
        if count == _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES:,} values")
        if isinstance(value, Mapping):
            continue
        if name in found:
            log.warning("metrics file %s has two values called %s: the second is used", file, name)
        found[name] = value
    return found


def _walk(values: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _walk(value, f"{prefix}{name}.")


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those values that are numbers; ``true`` is 1, ``false`` is 0, an integer beyond every float is infinite."""
    return {name: _as_float(value) for name, value in values.items() if isinstance(value, (int, float))}


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def of_stage(folder: Path, stage: Stage) -> dict[str, dict[str, Any]]:
    """What a stage's metrics files say: path → name → value.

    :param folder: the pipeline's, in which the files lie.
    :raises RepriseError: naming the stage and the file that cannot be read.
    """
    found = {}
    for path in (out.path for out in stage.outs if out.kind == "metric"):
        place = folder / path
        for file in sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]:
            name = file.relative_to(place).as_posix()
            name = path if name == "." else f"{path}/{name}"
            try:
                found[name] = parse(name, untrusted.read(file, _MOST_BYTES))
            except (ValueError, untrusted.Refused) as error:
                raise RepriseError(
                    f"stage {stage.name}: its metrics file {name} {error}",
                    f"correct what writes {name} (names and numbers, as in `dvc metrics show`), git commit, and make run",
                ) from error
    return found


def check(folder: Path, stage: Stage) -> None:
    """Read what a stage has just written: its own task fails then, not the one that records the run.

    :raises RepriseError: as :func:`of_stage`.
    """
    for file, values in of_stage(folder, stage).items():
        for name, number in numbers(values).items():
            if math.isinf(number) and isinstance(values[name], int):
                log.warning("%s: %s is too large for a float, it is recorded as %s", file, name, number)


def join(files: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """One mapping of the numbers of all files (path → name → number), sorted.

    A name that several files use is recorded once per file, as ``FILE:NAME``.
    """
    uses = Counter(name for found in files.values() for name in found)
    named = {
        (name if uses[name] == 1 else f"{file}:{name}"): value
        for file, found in files.items()
        for name, value in found.items()
    }
    return dict(sorted(named.items()))
