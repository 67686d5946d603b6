"""Parameter files (YAML, JSON, TOML, Python) as DVC reads them, and the part of each that a stage's sandbox holds."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from reprise.errors import BadInput
from reprise.pipeline import yamltext
from reprise.pipeline.stages import Stage

KeyPath = tuple[Any, ...]
"""Where a value lies: the keys of mappings and the indices of lists on the way to it."""


def read(file: Path) -> Any:
    """The content of a parameter file, by the reader that DVC has for its suffix.

    :raises ValueError: if DVC cannot read it; the message is DVC's own.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import LOADERS

    try:
        return LOADERS[file.suffix.lower()](str(file))
    except DvcException as error:
        raise ValueError(f"{error.__cause__ or error}") from error
    except (TypeError, RecursionError) as error:  # a Python file whose dictionary has a list as key, an endless alias
        raise ValueError(str(error)) from error


def parse_yaml(text: str) -> Any:
    """YAML as DVC reads it: version 1.2, in which ``yes`` is text and ``1e-3`` a number.

    :raises ValueError: if it is not YAML.
    """
    from dvc.utils.serialize import loads_yaml
    from ruamel.yaml import YAMLError

    try:
        return loads_yaml(text)
    except YAMLError as error:
        raise ValueError(str(error)) from error


def find(values: Any, key: str) -> list[KeyPath]:
    """Where a declared key lies. As DVC reads it: its steps are divided by dots, may be indices, and may be globs."""
    import dpath.options
    from dpath import segments
    from dpath.types import ListIndex

    if key in ("", "/"):
        return [()]  # dpath's names for everything
    dpath.options.ALLOW_EMPTY_STRING_KEYS = True  # as DVC has it
    steps = key.lstrip(".").split(".")
    found = (path for path, _ in segments.walk(values) if segments.match(path, steps))
    return [tuple(int(step) if isinstance(step, ListIndex) else step for step in path) for path in found]


def check(folder: Path, pipeline: str, stages: Iterable[Stage]) -> None:
    """Check that every stage will find its parameters, and that DVC can write them into dvc.lock.

    :param folder: the pipeline's folder; ``pipeline``: as the user knows it, relative to the repository.
    :raises BadInput: naming the stage, the file and the key.
    """
    known = cache(read)
    for stage in stages:
        for name, keys in stage.params.items():
            try:
                values = known(folder / name)
                recorded = {key: _only(values, key) for key in keys} if keys else values
                json.dumps(recorded, sort_keys=True)  # DVC makes the stage's hash so
                sorted(recorded)
            except FileNotFoundError:
                raise BadInput(
                    f"stage {stage.name}: parameter file {name} does not exist in this revision",
                    f"git add {pipeline}/{name} && git commit, or correct params in {pipeline}/dvc.yaml",
                ) from None
            except KeyError as error:
                raise BadInput(
                    f"stage {stage.name}: parameter file {name} has no key {error.args[0]!r}",
                    f"add it to {pipeline}/{name}, or correct params in {pipeline}/dvc.yaml, and commit",
                ) from None
            except (OSError, ValueError, TypeError) as error:
                raise BadInput(
                    f"stage {stage.name}: parameter file {name} cannot be used: {_one_line(error)}",
                    f"correct {pipeline}/{name} and commit it",
                ) from error


def _only(values: Any, key: str) -> Any:
    """The value of a declared key.

    :raises KeyError: if there is none.
    :raises ValueError: if there are several.
    """
    found = find(values, key)
    if not found:
        raise KeyError(key)
    if len(found) > 1:
        raise ValueError(f"the key {key!r} matches {len(found)} values")
    return _at(values, found[0])


def reduced(file: Path, keys: Sequence[str]) -> bytes:
    """What a stage sees of a parameter file: the declared keys alone, each value as it is written there.

    A whole file, and a Python file (decision 0130), are seen as they are.

    :param keys: the declared keys; none: the whole file.
    """
    suffix = file.suffix.lower()
    if not keys or suffix == ".py":
        return file.read_bytes()
    values = read(file)
    paths = {path for key in keys for path in find(values, key)}
    if suffix == ".json":
        return (json.dumps(_prune(values, paths), indent=2) + "\n").encode()
    if suffix == ".toml":
        import tomlkit

        return tomlkit.dumps(_prune(values, paths)).encode()
    yaml, text = yamltext.reader(), io.StringIO()
    written = yamltext.bare(yaml.load(file.read_text(encoding="utf-8")), values)
    yaml.dump(_prune(written, paths), text)
    return text.getvalue().encode()


def _prune(values: Any, paths: set[KeyPath]) -> Any:
    """What ``paths`` lead to; a list keeps its length, its other items are empty mappings."""
    if () in paths:
        return values
    below: dict[Any, set[KeyPath]] = {}
    for first, *rest in paths:
        below.setdefault(first, set()).add(tuple(rest))
    if isinstance(values, Mapping):
        return {key: _prune(part, below[key]) for key, part in values.items() if key in below}
    return [_prune(part, below[at]) if at in below else {} for at, part in enumerate(values)]


def _at(values: Any, path: KeyPath) -> Any:
    for step in path:
        values = values[step]
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
