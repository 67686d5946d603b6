"""A run's parameters: the revision's params.yaml with overrides, checked against params.schema.json."""

import difflib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from reprise.errors import BadInput
from reprise.pipeline import schema as schemas
from reprise.pipeline import yamltext
from reprise.pipeline.paramfiles import KeyPath, parse_yaml
from reprise.pipeline.schema import SCHEMA, as_typed

FILE = "params.yaml"
RESERVED = ("revision", "inbox", "as_of", "arrived", "ignore_cache")
"""What a trigger takes beside parameters; a parameter of such a name cannot be overridden."""


def read_text(folder: Path) -> str:
    """The text of a folder's params.yaml, its line ends as they are; empty if there is none."""
    file = folder / FILE
    return file.read_bytes().decode() if file.exists() else ""


def write_text(folder: Path, text: str) -> None:
    """Write a folder's params.yaml, line ends as in ``text``."""
    (folder / FILE).write_bytes(text.encode())


def parse_overrides(text: str) -> dict[str, Any]:
    """``"train.epochs=5 detect.device=cpu"`` → values by dotted name; each is read as DVC reads YAML, a date as text.

    :raises BadInput: if a word is not NAME=VALUE, or a value cannot be read, is empty, or cannot be sent to a run.
    """
    import shlex

    overrides, example = {}, 'make run PARAMS="train.epochs=5"'
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"{text!r} cannot be read: {error}", example) from error
    for word in words:
        name, equals, typed = word.partition("=")
        if not equals or not name:
            raise BadInput(f"{word!r} is not NAME=VALUE", example)
        if name in RESERVED:
            raise BadInput(
                f"{name} cannot be overridden by name: a run has a setting that is called so",
                f"write it into {FILE}, git commit, and make run",
            )
        overrides[name] = _parsed(word, typed, example)
        if overrides[name] is None:  # as the trigger form sends what was left alone
            raise BadInput(
                f"{name} cannot be made empty for one run: to a run that means what the revision says",
                f"leave {name} out; or write it as null into {FILE}, git commit, and make run",
            )
    return overrides


def _parsed(word: str, typed: str, example: str) -> Any:
    """The value of one ``NAME=VALUE``; it travels as JSON."""
    import datetime as dt

    try:
        value = parse_yaml(typed)
    except ValueError as error:
        raise BadInput(f"the value of {word!r} is not YAML", example) from error
    if isinstance(value, dt.date):
        return typed
    try:
        survives = value is None or json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        survives = False
    if not survives:
        raise BadInput(
            f"the value of {word!r} cannot be sent to a run: JSON does not have it",
            f"write it into {FILE}, git commit, and make run",
        )
    return value


def apply(folder: Path, overrides: Mapping[str, Any], path: str = "") -> str:
    """The text of ``folder``'s params.yaml with overrides set, comments kept; checked before anything is returned.

    :param path: the folder as the user knows it, relative to the repository.
    :raises BadInput: on an unknown name or a value out of range, naming what is allowed.
    """
    path, text = path or folder.name, read_text(folder)
    schema, before = schemas.load_schema(folder), _values(text, path)
    if schema:
        schemas.check_schema(schema, path)
    if overrides:
        text = _with(text, _located(overrides, _settable(schema, before), path), path)
    if schema:
        _check(schema, as_json(_values(text, path)), overrides, flat_values(before), path)
    return text


def _values(text: str, path: str) -> Mapping[Any, Any]:
    """The parameters, as DVC reads them.

    :raises BadInput: if the text is not YAML, or no mapping.
    """
    try:
        values = _parsed_yaml(text) or {}
    except ValueError as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{path}/{FILE} is not YAML: {said}", f"correct {path}/{FILE} and commit it") from error
    if not isinstance(values, Mapping):
        raise BadInput(f"{path}/{FILE} must be a mapping of names to values", f"correct {path}/{FILE} and commit it")
    return values


@lru_cache(maxsize=64)
def _parsed_yaml(text: str) -> Any:
    """Not to be changed. Reading takes tens of milliseconds, and runs often have the parameters of the run before."""
    return parse_yaml(text)


def _settable(schema: Mapping[str, Any] | None, values: Mapping[Any, Any]) -> list[KeyPath]:
    """The paths of what may be overridden: the schema's parameters, and what the file has within one that is a mapping."""
    here = list(_paths(values))
    if schema is None:
        return here
    known: list[KeyPath] = list(schemas.leaves(schema))
    return known + [path for path in here if any(path[:depth] in known for depth in range(1, len(path)))]


def _located(overrides: Mapping[str, Any], settable: list[KeyPath], path: str) -> dict[KeyPath, Any]:
    """Values by path instead of by name.

    :raises BadInput: if a name is unknown, or stands for several parameters.
    """
    known = named(settable)
    for name in sorted(overrides):
        if name in known:
            continue
        if [dotted(keys) for keys in settable].count(name) > 1:
            raise BadInput(
                f"{name!r} stands for several parameters, so none can be overridden by it",
                f"rename one of them in {path}/{FILE} and commit it",
            )
        near = difflib.get_close_matches(name, known, 3) or sorted(known)[:8]
        raise BadInput(f"unknown parameter {name!r}", f"use one of {', '.join(near)} (see {path}/{FILE})")
    return {known[name]: value for name, value in overrides.items()}


def _with(text: str, overrides: Mapping[KeyPath, Any], path: str) -> str:
    """A params.yaml with values set, the rest of its text kept.

    What is set in a mapping with an anchor reaches its aliases, as an edit of the file would; what is set in an alias
    stays there.
    """
    yaml, out = yamltext.reader(), io.StringIO()
    values = yaml.load(text)
    if values is None:
        values = {}
    defined: dict[int, KeyPath] = {}
    _define(values, (), defined)
    for keys, value in sorted(overrides.items(), key=lambda item: list(map(str, item[0]))):
        part = values
        for depth, step in enumerate(keys[:-1], start=1):
            key = _own(part, step)
            below = yamltext.value_of(part.get(key))
            if below is None:
                part[key] = {}
            elif not isinstance(below, MutableMapping):
                raise BadInput(
                    f"{dotted(keys)} cannot be set: {dotted(keys[:depth])} is {shown(below)}, not a mapping",
                    f"correct {path}/{FILE} and commit it",
                )
            elif defined.get(id(below)) not in (None, tuple(map(key_text, keys[:depth]))):
                part[key] = yamltext.bare(below, below)
            part = part[key]
        part[_own(part, keys[-1])] = yamltext.unmistakable(value)
    yaml.dump(values, out)
    return out.getvalue()


def _define(values: Mapping[Any, Any], above: KeyPath, found: dict[int, KeyPath]) -> None:
    """Note where each mapping stands first, by its id: an alias is the same object at another place."""
    for key, part in values.items():
        if isinstance(part, Mapping) and id(part) not in found:
            found[id(part)] = (*above, key_text(yamltext.value_of(key)))
            _define(part, found[id(part)], found)


def _own(part: Mapping[Any, Any], step: Any) -> Any:
    """The key of a mapping that a schema, which has only text, calls ``step``."""
    return step if step in part else next((key for key in part if key_text(yamltext.value_of(key)) == step), step)


def flat(text: str) -> dict[str, Any]:
    """Every value of a params.yaml by its dotted name, as DVC reads it.

    :raises BadInput: if the text is not a params.yaml.
    """
    return flat_values(_values(text, "."))


def flat_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Every value of nested mappings by its dotted name."""
    found = {}
    for name, keys in named(_paths(values)).items():
        value: Any = values
        for key in keys:
            value = value[key]
        found[name] = value
    return found


def _paths(values: Mapping[Any, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, (*above, key))
        else:
            yield (*above, key)


def named(paths: Iterable[KeyPath]) -> dict[str, KeyPath]:
    """Paths by their dotted names; those that would share one (``a.b`` and ``"a.b"``) with their keys in quotes."""
    every = list(dict.fromkeys(paths))
    times = Counter(map(dotted, every))
    return {dotted(path) if times[dotted(path)] == 1 else ".".join(map(_quoted, path)): path for path in every}


def dotted(path: KeyPath) -> str:
    """A parameter's name: its keys, divided by dots."""
    return ".".join(map(key_text, path))


def key_text(key: Any) -> str:
    """A key of a mapping as YAML writes it: ``true``, ``null``, ``2026``."""
    return "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)


def _quoted(key: Any) -> str:
    return json.dumps(key, ensure_ascii=False) if isinstance(key, str) else key_text(key)


def as_json(value: Any) -> Any:
    """A value with what JSON does not have (keys that are not text, dates) as YAML writes it."""
    if isinstance(value, Mapping):
        return {key_text(key): as_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [as_json(part) for part in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def shown(value: Any) -> str:
    """A parameter's value as people write it; a null leaves it to the stage, which says what it took."""
    return "default" if value is None else value if isinstance(value, str) else json.dumps(as_json(value))


def _check(
    schema: Mapping[str, Any], values: Any, overrides: Mapping[str, Any], before: Mapping[str, Any], path: str
) -> None:
    """All errors at once, each with the parameter's name and what is allowed.

    :param before: the values without the overrides.
    """
    known, wrong, right = schemas.leaves(schema), [], dict(overrides)
    for keys, message, value in schemas.errors(schema, values):
        name = dotted(keys)
        if keys not in known:
            wrong.append(f"{name or FILE}: {message}")
            continue
        wrong.append(f"{name} cannot be {as_typed(value)} (allowed: {schemas.allowed(known[keys])})")
        if name in overrides:
            right[name] = _nearest(schema, known[keys], value, before.get(name))
    if wrong:
        settings = " ".join(f"{name}={as_typed(value)}" for name, value in sorted(right.items()))
        mend = f'make run PARAMS="{settings}"' if right != overrides else f"correct {path}/{FILE} and commit it"
        raise BadInput("; ".join(dict.fromkeys(wrong)), f"{mend}   (all of them: {path}/{SCHEMA})")


def _nearest(schema: Mapping[str, Any], leaf: schemas.Leaf, value: Any, before: Any) -> Any:
    """A value that is allowed: the end of the range that ``value`` is beyond, else what it was before."""
    low, high = leaf.get("minimum"), leaf.get("maximum")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    beyond = high if is_number and high is not None and value > high else low if is_number else None
    candidates = (beyond, before, leaf.get("default"), low, high, *leaf.get("enum", ()))
    return next((c for c in candidates if c is not None and schemas.is_valid(schema, leaf, c)), before)
