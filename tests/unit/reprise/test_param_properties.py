"""Properties of parameter files and overrides: whatever is in a file, DVC and other readers find the same afterwards."""

import json
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml
from dvc.dependency.param import read_param_file
from dvc.utils.serialize import load_yaml
from dvc_objects.fs import LocalFileSystem
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from reprise.pipeline.paramfiles import parse_yaml, reduced
from reprise.pipeline.params import apply, as_json, flat, named

quick = settings(max_examples=40, deadline=None, derandomize=True)
KEYS = st.one_of(
    st.sampled_from(["lr", "train", "yes", "on", "null", "1", "1e3", "a b", "größe", "x:y", "#", "-", "~", "", "a.b", "="]),
    st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\ufeff"), max_size=6),
)  # fmt: skip
TEXT = st.one_of(st.sampled_from(["yes", "012", "1e-3", "12:30", "2020-01-01", "", " a", "null", "=", "a: b"]), KEYS)
NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False), st.booleans())


def _nested(leaf: st.SearchStrategy[Any], keys: st.SearchStrategy[Any] = KEYS) -> st.SearchStrategy[dict[Any, Any]]:
    below = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6)  # fmt: skip
    return st.dictionaries(keys, below, min_size=1, max_size=4)


PLAIN = st.sampled_from(
    [
        "1e-3",
        "1E5",
        "1.",
        ".5",
        "-.inf",
        "012",
        "0o12",
        "0x1F",
        "1_000",
        "+1",
        "+1.5",
        "-0",
        "0.0",
        "12:30:45",
        "yes",
        "On",
        "~",
        "null",
        "TRUE",
        "False",
        "1.2.3",
        "08",
        "word",
    ]
)
"""Scalars as people write them, of which readers of YAML 1.1 and 1.2 make different values."""


def _written(values: Any, indent: str = "") -> str:
    """YAML in which every text is written as it is, unquoted, below keys that may be anything."""
    lines = []
    for key, value in values.items():
        name = json.dumps(key) if isinstance(key, str) else str(key).lower()
        deeper = f"\n{_written(value, indent + '  ')}" if isinstance(value, dict) and value else f" {value or '{}'}\n"
        lines.append(f"{indent}{name}:{deeper}")
    return "".join(lines)


ODD_KEYS = KEYS | st.integers(-5, 3000) | st.sampled_from([None, True, 0.5])


def _paths(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a value, and to what it lies in, that a declared key can name."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        if str(key) == key or type(key) is int:
            yield (*above, key)
            yield from _paths(value, (*above, key))


def _some_keys(data: st.DataObject, values: Any) -> list[str]:
    """Declared keys that DVC finds, each once."""
    special = set(".*?[]")
    paths = (path for path in _paths(values) if not any(special & set(str(step)) for step in path))
    names = sorted(name for name in {".".join(map(str, path)) for path in paths} - {"", "/"} if name[0] != ".")
    assume(names)
    return data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))


def _as_dvc_reads(file: Path, keys: list[str]) -> str:
    try:
        return repr(read_param_file(LocalFileSystem(), str(file), keys, flatten=True))
    except ValueError:  # one key for several values: plain DVC stops, and so does `open`
        return ""


def _same(suffix: str, text: str, data: st.DataObject) -> tuple[str, str]:
    """A file, and what a stage sees of it where some of its keys are declared; both as text."""
    with tempfile.TemporaryDirectory() as folder:
        file, seen = Path(folder, f"all{suffix}"), Path(folder, f"seen{suffix}")
        file.write_text(text, encoding="utf-8")
        values = read_param_file(LocalFileSystem(), str(file))
        keys = _some_keys(data, values)
        expected = _as_dvc_reads(file, keys)
        assume(expected)
        seen.write_bytes(reduced(file, keys))
        assert _as_dvc_reads(seen, keys) == expected
        assert set(read_param_file(LocalFileSystem(), str(seen))) <= {
            name for name in values for key in keys if str(name) == key.split(".")[0]
        }, "nothing that is not declared"
        return text, seen.read_text(encoding="utf-8")


@quick
@given(_nested(PLAIN, ODD_KEYS), st.data())
def test_yaml_as_people_write_it(values: dict[Any, Any], data: st.DataObject) -> None:
    text = _written(values)
    try:
        parse_yaml(text)
    except ValueError:
        assume(False)
    whole, seen = _same(".yaml", text, data)
    _others_read_a_part(yaml.safe_load(whole), yaml.safe_load(seen))


@quick
@given(_nested(TEXT | NUMBERS | st.none()), st.data(), st.booleans())
def test_yaml_as_programs_write_it(values: dict[str, Any], data: st.DataObject, flow: bool) -> None:
    whole, seen = _same(".yaml", yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True), data)
    _others_read_a_part(yaml.safe_load(whole), yaml.safe_load(seen))


@quick
@given(_nested(TEXT | NUMBERS | st.none()), st.data())
def test_json(values: dict[str, Any], data: st.DataObject) -> None:
    _same(".json", json.dumps(values), data)


@quick
@given(_nested(TEXT | NUMBERS | st.datetimes() | st.dates() | st.times()), st.data())
def test_toml(values: dict[str, Any], data: st.DataObject) -> None:
    whole, seen = _same(".toml", tomlkit.dumps(values), data)
    _others_read_a_part(tomllib.loads(whole), tomllib.loads(seen), ordered=False)  # by its rules tables come last


def _others_read_a_part(whole: Any, seen: Any, ordered: bool = True) -> None:
    """What another reader finds in the reduced file is what it finds in the whole one, in the same order."""
    if isinstance(seen, dict) and seen:
        assert isinstance(whole, dict)
        assert [key for key in whole if key in seen] == list(seen) or not ordered
        for key, value in seen.items():
            _others_read_a_part(whole[key], value, ordered)
    elif isinstance(seen, list) and seen:
        for pair in zip(whole, seen, strict=True):
            _others_read_a_part(*pair, ordered)
    elif seen != {}:
        assert repr(whole) == repr(seen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("p")


OVERRIDES = TEXT | NUMBERS.filter(lambda n: n not in (float("inf"), -float("inf"))) | st.lists(TEXT | NUMBERS.filter(lambda n: abs(n) < 1e300), max_size=3)  # fmt: skip


@quick
@given(_nested(PLAIN, ODD_KEYS), st.data(), OVERRIDES)
@example({"lr": "1e-3"}, None, 1e-5)
@example({"lr": "1e-3"}, None, "yes")
def test_an_override_is_read_back_and_leaves_the_rest(
    folder: Path, values: dict[Any, Any], data: st.DataObject | None, value: Any
) -> None:
    text = "# said before\n" + _written(values)
    try:
        before = parse_yaml(text)
    except ValueError:
        assume(False)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    assert apply(folder, {}) == text
    found = flat(text)
    assert sorted(map(str, found.values())) == sorted(map(str, _leaves(before))), "none is lost, whatever it is called"
    name = data.draw(st.sampled_from(sorted(found))) if data else min(found)
    if list(found).count(name) == 1 and '"' not in name:
        after = apply(folder, {name: value})
        assert flat(after) == {**found, name: value}
        assert list(flat(after)) == list(found)
        assert after.startswith("# said before\n")
        (folder / "other.yaml").write_text(after, encoding="utf-8")
        assert load_yaml(str(folder / "other.yaml")) == parse_yaml(after)
        assert _only_changed_to(yaml.safe_load(text), yaml.safe_load(after), value), "PyYAML reads it so, too"


def _leaves(values: Any) -> list[Any]:
    return [leaf for v in values.values() for leaf in (_leaves(v) if isinstance(v, dict) and v else [v])]


def _only_changed_to(before: Any, after: Any, value: Any) -> bool:
    """Whether every value is what it was, or ``value``, and one of them is."""
    assert list(before) == list(after)
    found = False
    for key, was in before.items():
        if isinstance(was, dict) and was and isinstance(after[key], dict):
            found |= _only_changed_to(was, after[key], value)
        elif repr(after[key]) == repr(value):
            found = True
        else:
            assert repr(after[key]) == repr(was)
    return found


@quick
@given(st.lists(st.lists(ODD_KEYS, min_size=1, max_size=3).map(tuple), max_size=5, unique_by=repr))
def test_every_path_has_a_name_of_its_own(paths: list[tuple[Any, ...]]) -> None:
    assert len(named(paths)) == len(set(paths))


@quick
@given(_nested(TEXT | NUMBERS | st.none() | st.dates(), ODD_KEYS | st.dates()))
def test_anything_has_a_form_in_json(values: dict[Any, Any]) -> None:
    json.dumps(as_json(values), allow_nan=True, sort_keys=True)
