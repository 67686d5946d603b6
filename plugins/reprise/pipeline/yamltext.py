"""YAML that is changed without touching the rest: every scalar stays as it is written, comments and order with it.

ruamel's own round trip makes ``6.674127070813431e-307`` lose its last digit. And of ``1e-3`` or ``yes`` readers of YAML
1.1 and 1.2 make different values, so a file must not be written anew from what one of them read.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

_INTEGER, _FLOAT, _BOOL, _NULL = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))


class Written:
    """A number, a truth value or a null together with its text; as a key it is its value."""

    def __init__(self, tag: str, value: Any, text: str, style: str | None = None, anchor: Any = None) -> None:
        self.tag, self.value, self.text, self.style, self.anchor = tag, value, text, style, anchor

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, Written) else other))

    def __hash__(self) -> int:
        return hash(self.value)


def value_of(part: Any) -> Any:
    """What a scalar means."""
    return part.value if isinstance(part, Written) else part


def reader() -> Any:
    """A ``ruamel.yaml.YAML`` that loads scalars as :class:`Written`, and writes them as they were."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.Constructor, yaml.Representer = _classes()
    yaml.preserve_quotes = True
    yaml.width = 2**31  # no line is broken
    return yaml


@cache
def _classes() -> tuple[type, type]:
    """ruamel's constructor and representer with ours for scalars; made late, as ruamel takes 0.15 s to import."""
    from ruamel.yaml.anchor import Anchor
    from ruamel.yaml.constructor import RoundTripConstructor, SafeConstructor
    from ruamel.yaml.representer import RoundTripRepresenter

    class Constructor(RoundTripConstructor):
        """Keeps texts."""

    class Representer(RoundTripRepresenter):
        """Writes them."""

    def adder(tag: str, value: Any) -> None:
        def construct(self: Any, node: Any) -> Written:
            anchor = Anchor() if node.anchor else None
            if anchor:
                anchor.value, anchor.always_dump = node.anchor, True
            return Written(tag, value(self, node), node.value or "null", node.style, anchor)

        Constructor.add_constructor(tag, construct)

    def represent(self: Any, data: Written) -> Any:
        return self.represent_scalar(data.tag, data.text, style=data.style, anchor=data.anchor)

    adder(_INTEGER, SafeConstructor.construct_yaml_int)
    adder(_FLOAT, SafeConstructor.construct_yaml_float)
    adder(_BOOL, SafeConstructor.construct_yaml_bool)
    adder(_NULL, SafeConstructor.construct_yaml_null)
    Representer.add_representer(Written, represent)
    return Constructor, Representer


def bare(value: Any, like: Any) -> Any:
    """A value of :func:`reader` without comments, anchors and merges.

    :param like: the same value as other readers have it: what ``<<`` merges comes first there.
    """
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, PlainScalarString, ScalarString

    if isinstance(value, Mapping):
        own = {key: key for key in value}
        return CommentedMap((bare(own[key], key), bare(value[key], part)) for key, part in like.items())
    if isinstance(value, list):
        return [bare(*parts) for parts in zip(value, like, strict=True)]
    if isinstance(value, Written):
        return Written(value.tag, value.value, value.text, value.style)
    if isinstance(value, ScalarString) and not isinstance(value, PlainScalarString):
        return DoubleQuotedScalarString(value)  # it was quoted or a block, so it is text to every reader
    return str(value) if isinstance(value, str) else value


def unmistakable(value: Any) -> Any:
    """A new value for :func:`reader` to write so that YAML 1.1 and 1.2 read the same."""
    import yaml
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {unmistakable(key): unmistakable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [unmistakable(part) for part in value]
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        return Written(_FLOAT, value, text if "." in text else text.replace("e", ".0e"))
    if isinstance(value, str):
        try:
            same = yaml.safe_load(value) == value
        except yaml.YAMLError:
            same = False
        return value if same else DoubleQuotedScalarString(value)
    return value
