"""params.schema.json: which parameters can be set, and what each may be. References in it are followed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reprise.errors import BadInput

SCHEMA = "params.schema.json"

Leaf = dict[str, Any]
"""The JSON Schema of one parameter, with its references replaced by what they refer to."""

_DEFINITIONS = ("$defs", "definitions")
_CHOICES = ("anyOf", "oneOf")


def load_schema(folder: Path) -> dict[str, Any] | None:
    """The pipeline's JSON Schema; None if it ships none (then any key of params.yaml may be overridden).

    :raises BadInput: if the file is not JSON.
    """
    file = folder / SCHEMA
    if not file.exists():
        return None
    try:
        schema = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{SCHEMA} is not JSON: {error}", f"correct {file}") from error
    return dict(schema) if isinstance(schema, Mapping) else {}


def check_schema(schema: Mapping[str, Any], path: str) -> None:
    """Check that a schema is one. Takes tenths of a second: not where Airflow parses DAGs.

    :param path: the pipeline's folder as the user knows it.
    :raises BadInput: if it is not a JSON Schema.
    """
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadInput(
            f"{path}/{SCHEMA} is not a JSON Schema: {error.message}", f"correct {path}/{SCHEMA} and commit it"
        ) from error


def leaves(schema: Mapping[str, Any]) -> dict[tuple[str, ...], Leaf]:
    """Every parameter that can be set, by its keys from the outside in, with its own schema."""
    return dict(_leaves(schema, schema, (), ()))


def _leaves(
    part: Any, root: Mapping[str, Any], above: tuple[str, ...], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """:param above: the references that led here: one that leads to itself is not followed again."""
    part, above = _resolved(part, root, above)
    properties = part.get("properties")
    if path and not properties:
        yield path, part
    for name, below in properties.items() if isinstance(properties, Mapping) else ():
        yield from _leaves(below, root, above, (*path, name))


def _resolved(part: Any, root: Mapping[str, Any], above: tuple[str, ...]) -> tuple[Leaf, tuple[str, ...]]:
    """One schema with what it refers to put in place, and the references that this took.

    pydantic writes a nested model as ``$ref``, alone or in ``allOf`` beside a default, and one that may be null as
    ``anyOf`` of it and null.
    """
    if not isinstance(part, Mapping):  # true: anything
        return {}, above
    bases: list[Leaf] = []
    if "$ref" in part:
        base, above = _followed(str(part["$ref"]), root, above)
        bases.append(base)
    for every in part.get("allOf", ()):
        base, above = _resolved(every, root, above)
        bases.append(base)
    for word in _CHOICES:
        if word in part:
            base, above = _chosen(part[word], root, above)
            bases.append(base)
    bases.append({k: v for k, v in part.items() if k not in ("$ref", "allOf", *_CHOICES)})
    merged: Leaf = {}
    for base in bases:
        properties = {**merged.get("properties", {}), **base.get("properties", {})}
        merged |= base
        if properties:
            merged["properties"] = properties
    if "const" in merged:
        merged.setdefault("enum", [merged["const"]])
    return merged, above


def _followed(ref: str, root: Mapping[str, Any], above: tuple[str, ...]) -> tuple[Leaf, tuple[str, ...]]:
    """What a reference within the file refers to; a schema that contains itself is any mapping there."""
    if ref in above:
        return {"type": "object"}, above
    found: Any = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return _resolved(found, root, (*above, ref))


def _chosen(choices: Any, root: Mapping[str, Any], above: tuple[str, ...]) -> tuple[Leaf, tuple[str, ...]]:
    """Several schemas of which one must hold, as one: a choice beside null, models with their properties together."""
    resolved = [_resolved(choice, root, above) for choice in choices]
    above = tuple(dict.fromkeys(ref for _, refs in resolved for ref in refs))
    real = [leaf for leaf, _ in resolved if kinds(leaf) != ["null"]]
    null = ["null"] if len(real) < len(resolved) else []
    if len(real) == 1:
        only = {**real[0], "type": [*kinds(real[0]), *null]} if kinds(real[0]) else real[0]
        return ({**only, "enum": [*only["enum"], None]} if null and "enum" in only else only), above
    if real and all(leaf.get("properties") for leaf in real):
        together = {name: part for leaf in reversed(real) for name, part in leaf["properties"].items()}
        return {"type": ["object", *null], "properties": together}, above
    types = list(dict.fromkeys([kind for leaf in real for kind in kinds(leaf)] + null))
    every = all(kinds(leaf) for leaf in real)
    return {"anyOf": [leaf for leaf, _ in resolved], **({"type": types} if every else {})}, above


def is_valid(schema: Mapping[str, Any], leaf: Leaf, value: Any) -> bool:
    """Whether a value is allowed for one parameter of ``schema``."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator({**leaf, **{k: schema[k] for k in _DEFINITIONS if k in schema}}).is_valid(value)


def errors(schema: Mapping[str, Any], values: Any) -> list[tuple[tuple[str, ...], str, Any]]:
    """What of ``values`` the schema does not allow: keys from the outside in, jsonschema's message, the value.

    :raises BadInput: if the schema refers to something that it does not hold.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing.exceptions import Unresolvable

    def reasons(error: ValidationError) -> Iterator[ValidationError]:
        yield error
        for below in error.context:
            yield from reasons(below)

    def nearest(error: ValidationError) -> ValidationError:
        """The reason that lies deepest: "not valid under any of the given schemas" does not help."""
        return max(reasons(error), key=lambda reason: len(reason.absolute_path))

    try:
        found = [nearest(error) for error in Draft202012Validator(schema).iter_errors(values)]
    except Unresolvable as error:
        raise BadInput(f"{SCHEMA} refers to what it does not hold: {error.ref}", f"correct {SCHEMA}") from error
    named = [(tuple(map(str, error.absolute_path)), error.message, error.instance) for error in found]
    return sorted(named, key=lambda error: error[:2])


_KINDS = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
"""JSON Schema's types, in words."""


def kinds(leaf: Mapping[str, Any]) -> list[str]:
    """JSON Schema's names of the types that a parameter may have."""
    found = leaf.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def as_typed(value: Any) -> str:
    """A value as people write it behind ``NAME=``."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)


def allowed(leaf: Mapping[str, Any]) -> str:
    """What a parameter may be, in words: ``integer or null, 1 to 10000``."""
    if "enum" in leaf:
        of_what = f"one of {', '.join(as_typed(value) for value in leaf['enum'])}"
    elif "anyOf" in leaf:
        return "; or ".join(dict.fromkeys(allowed(choice) for choice in leaf["anyOf"]))
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
    """The range, in words; empty if there is none."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    least = str(low) if low is not None else f"more than {above}" if above is not None else ""
    most = str(high) if high is not None else f"less than {below}" if below is not None else ""
    if least and most:
        return f"{least} to {most}"
    return (f"at least {low}" if low is not None else least) or (f"at most {high}" if high is not None else most)
