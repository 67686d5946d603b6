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

    :raises BadInput: where a word is not NAME=VALUE, or a value cannot be read.
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
    return overrides


def apply(folder: Path, overrides: Mapping[str, Any]) -> str:
    """The text of ``folder``'s params.yaml with overrides set, comments kept; checked before anything is returned.

    :raises BadInput: on an unknown name or a value out of range, naming what is allowed.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    file = folder / FILE
    values = yaml.load(file.read_text()) if file.exists() else {}
    schema = load_schema(folder)
    known = sorted(leaves(schema) if schema else _names(values or {}))
    for name, value in sorted(overrides.items()):
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or known[:8]
            raise BadInput(f"unknown parameter {name!r}", f"use one of {', '.join(near)} (see {folder.name}/{FILE})")
        *parents, leaf = name.split(".")
        part = values
        for parent in parents:
            part = part.setdefault(parent, {})
        part[leaf] = value
    if schema:
        _check(schema, json.loads(json.dumps(values)), folder.name)
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


def _value(values: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def _names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in values.items():
        names += _names(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return names


def _check(schema: Mapping[str, Any], values: Any, pipeline: str) -> None:
    """All errors at once, each with the parameter's name and what is allowed."""
    from jsonschema import Draft202012Validator

    wrong = []
    for error in sorted(Draft202012Validator(schema).iter_errors(values), key=lambda e: list(map(str, e.path))):
        name = ".".join(str(step) for step in error.path) or FILE
        allowed = _range(error.schema)
        wrong.append(f"{name}: {error.message}" + (f" (allowed: {allowed})" if allowed else ""))
    if wrong:
        raise BadInput("; ".join(wrong), f"choose a value that pipelines/{pipeline}/{SCHEMA} allows")


def about(leaf: Mapping[str, Any]) -> str:
    """One parameter in a sentence or two: what it is, its type, range or choices, and its default."""
    kind = leaf.get("type", "value")
    words = [f"{str(leaf.get('description', '')).rstrip('.')}."] if leaf.get("description") else []
    choices = f"One of {', '.join(map(str, leaf['enum']))}" if "enum" in leaf else str(kind).capitalize()
    words.append(f"{', '.join(filter(None, [choices, _range(leaf)]))}.")
    default = f" (default {json.dumps(leaf['default'])})" if "default" in leaf else ""
    left = "Never touched" if kind == "boolean" else "Empty"  # a switch cannot show that it says nothing
    return " ".join([*words, f"{left}: what the revision says{default}."])


def _range(schema: Mapping[str, Any]) -> str:
    """The range, in words; empty where there is none."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    least = str(low) if low is not None else f"more than {above}" if above is not None else ""
    most = str(high) if high is not None else f"less than {below}" if below is not None else ""
    return f"{least} to {most}" if least or most else ""
