"""Writes `params.schema.json`: all stages' parameters with type, range, default and description.

Whoever starts runs (the form in the UI, the check of overrides) reads that file and none of this code.
"""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent
SCHEMA = FOLDER / "params.schema.json"


def schema() -> dict[str, Any]:
    """JSON Schema of params.yaml: one object per stage, in the order of params.yaml."""
    stages = yaml.safe_load((FOLDER / "params.yaml").read_text())
    models = {stage: importlib.import_module(f"params.{stage}").Params for stage in stages}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {stage: _without_titles(model.model_json_schema()) for stage, model in models.items()},
        "additionalProperties": False,
    }


def text() -> str:
    """The content of params.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _without_titles(stage: dict[str, Any]) -> dict[str, Any]:
    """Drop the titles that pydantic derives from names; they say nothing new."""
    properties = {
        name: _nullable({key: value for key, value in field.items() if key != "title"})
        for name, field in stage["properties"].items()
    }
    return {
        "type": "object",
        "description": stage["description"],
        "properties": properties,
        "additionalProperties": False,
    }


def _nullable(field: dict[str, Any]) -> dict[str, Any]:
    """pydantic's "anyOf: this or null" as one type with null, which forms and checks read alike."""
    if "anyOf" not in field:
        return field
    (kind,) = [option for option in field.pop("anyOf") if option != {"type": "null"}]
    return {**field, **kind, "type": [kind["type"], "null"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m params.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    if not parser.parse_args().check:
        SCHEMA.write_text(text())
    elif not SCHEMA.exists() or SCHEMA.read_text() != text():
        raise SystemExit(f"{SCHEMA.name} is out of date; write it again: cd pipelines/faces && python -m params.schema")


if __name__ == "__main__":
    main()
