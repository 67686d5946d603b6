"""A run's parameters: the revision's params.yaml with overrides, checked against params.schema.json."""

import difflib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprise.errors import BadInput

FILE = "params.yaml"
SCHEMA = "params.schema.json"


def load_schema(folder: Path) -> dict[str, Any] | None:
    """The pipeline's JSON Schema, or None where it ships none (then any key of params.yaml may be overridden)."""
    file = folder / SCHEMA
    return json.loads(file.read_text()) if file.exists() else None


def leaves(schema: Mapping[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every parameter that can be set, by its dotted name, with its own schema."""
    found: dict[str, dict[str, Any]] = {}
    for name, part in schema.get("properties", {}).items():
        if "properties" in part:
            found |= leaves(part, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = dict(part)
    return found


def parse_overrides(text: str) -> dict[str, Any]:
    """``"train.epochs=5 detect.device=cpu"`` → values by dotted name; each value is read as YAML.

    :raises BadInput: where a word is not NAME=VALUE, or a value cannot be read or is empty.
    """
    import shlex

    import yaml

    overrides, example = {}, 'make run PARAMS="train.epochs=5"'
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"{text!r} cannot be read: {error}", example) from error
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadInput(f"{word!r} is not NAME=VALUE", example)
        try:
            overrides[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInput(f"the value of {word!r} is no YAML", example) from error
        if overrides[name] is None:  # as the trigger form sends what was left alone
            raise BadInput(
                f"{name} cannot be made empty for one run: to a run that means what the revision says",
                f"leave {name} out; or write it as null into {FILE}, git commit, and make run",
            )
    return overrides


def apply(folder: Path, overrides: Mapping[str, Any], path: str = "") -> str:
    """The text of ``folder``'s params.yaml with overrides set, comments kept; checked before anything is returned.

    :param path: the folder as the user knows it, relative to the repository.
    :raises BadInput: on an unknown name or a value out of range, naming what is allowed.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    file, path = folder / FILE, path or folder.name
    values = yaml.load(file.read_text()) if file.exists() else {}
    schema = load_schema(folder)
    known = sorted(leaves(schema) if schema else _names(values or {}))
    for name, value in sorted(overrides.items()):
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or known[:8]
            raise BadInput(f"unknown parameter {name!r}", f"use one of {', '.join(near)} (see {path}/{FILE})")
        *parents, leaf = name.split(".")
        part = values
        for parent in parents:
            part = part.setdefault(parent, {})
        part[leaf] = value
    if schema:
        before = flat(file.read_text()) if file.exists() else {}
        _check(schema, json.loads(json.dumps(values)), overrides, before, path)
    text = io.StringIO()
    if values:
        yaml.dump(values, text)
    return text.getvalue()


def declared_only(text: str, keys: tuple[str, ...]) -> str:
    """The params file as a stage's sandbox sees it: the declared keys (dotted) and nothing else."""
    import yaml

    values = yaml.safe_load(text) or {}
    if not keys:  # `params: [file.yaml:]` declares the whole file
        return yaml.safe_dump(values, sort_keys=False)
    kept: dict[str, Any] = {}
    for key in keys:
        source, target = values, kept
        *parents, leaf = key.split(".")
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[leaf] = source[leaf]
    return yaml.safe_dump(kept, sort_keys=False)


def flat(text: str) -> dict[str, Any]:
    """Every value of a params file by its dotted name."""
    import yaml

    values = yaml.safe_load(text) or {}
    return {name: _value(values, name) for name in _names(values)}


def shown(value: Any) -> str:
    """A parameter's value as people write it; a null leaves it to the stage, which says what it took."""
    return "default" if value is None else value if isinstance(value, str) else json.dumps(value)


def _value(values: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def _names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in values.items():
        names += _names(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return names


def _check(
    schema: Mapping[str, Any], values: Any, overrides: Mapping[str, Any], before: Mapping[str, Any], path: str
) -> None:
    """All errors at once, each with the parameter's name and what is allowed.

    :param before: the values without the overrides.
    """
    from jsonschema import Draft202012Validator

    known, wrong, right = leaves(schema), [], dict(overrides)
    for error in sorted(Draft202012Validator(schema).iter_errors(values), key=lambda e: list(map(str, e.path))):
        name = ".".join(str(step) for step in error.path)
        if name not in known:
            wrong.append(f"{name or FILE}: {error.message}")
            continue
        wrong.append(f"{name} cannot be {_as_typed(error.instance)} (allowed: {allowed(known[name])})")
        if name in overrides:
            right[name] = _nearest(known[name], error.instance, before.get(name))
    if wrong:
        settings = " ".join(f"{name}={_as_typed(value)}" for name, value in sorted(right.items()))
        mend = f'make run PARAMS="{settings}"' if right != overrides else f"correct {path}/{FILE} and commit it"
        raise BadInput("; ".join(dict.fromkeys(wrong)), f"{mend}   (all of them: {path}/{SCHEMA})")


def _nearest(leaf: Mapping[str, Any], value: Any, before: Any) -> Any:
    """A value that is allowed: the end of the range that ``value`` is beyond, else what it was before."""
    from jsonschema import Draft202012Validator

    low, high = leaf.get("minimum"), leaf.get("maximum")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    beyond = high if is_number and high is not None and value > high else low if is_number else None
    candidates = (beyond, before, leaf.get("default"), low, high, *leaf.get("enum", ()))
    return next((c for c in candidates if c is not None and Draft202012Validator(leaf).is_valid(c)), before)


def _as_typed(value: Any) -> str:
    """A value as people write it behind ``NAME=``."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


_KINDS = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "null": "null",
}
"""JSON Schema's types, in words."""


def kinds(leaf: Mapping[str, Any]) -> list[str]:
    """JSON Schema's names of the types that a parameter may have."""
    found = leaf.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def allowed(leaf: Mapping[str, Any]) -> str:
    """What a parameter may be, in words: ``integer or null, 1 to 10000``."""
    if "enum" in leaf:
        of_what = f"one of {', '.join(_as_typed(value) for value in leaf['enum'])}"
    else:
        of_what = " or ".join(_KINDS.get(kind, kind) for kind in kinds(leaf)) or "any value"
    like = f"like {leaf['pattern']}" if "pattern" in leaf else ""
    multiple = f"a multiple of {leaf['multipleOf']}" if "multipleOf" in leaf else ""
    return ", ".join(filter(None, [of_what, _range(leaf), multiple, like]))


def about(leaf: Mapping[str, Any]) -> str:
    """One parameter in a sentence or two: what it is, its type, range or choices, and its default."""
    words = [f"{str(leaf.get('description', '')).rstrip('.')}."] if leaf.get("description") else []
    words.append(f"{allowed(leaf)[0].upper()}{allowed(leaf)[1:]}.")
    default = f" (default {json.dumps(leaf['default'])})" if "default" in leaf else ""
    # A switch cannot show that it says nothing.
    left = "Never touched" if "boolean" in kinds(leaf) and "enum" not in leaf else "Empty"
    return " ".join([*words, f"{left}: what the revision says{default}."])


def _range(schema: Mapping[str, Any]) -> str:
    """The range, in words; empty where there is none."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    least = str(low) if low is not None else f"more than {above}" if above is not None else ""
    most = str(high) if high is not None else f"less than {below}" if below is not None else ""
    return f"{least} to {most}" if least or most else ""
