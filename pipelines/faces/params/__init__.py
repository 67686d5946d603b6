"""The parameters of the stages: one pydantic model per stage, its values in `params.yaml`.

`params/STAGE.py` defines `Params`, a frozen model that refuses unknown keys and values out of range.
"""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def load(model: type[Model], section: str, path: Path = Path("params.yaml")) -> Model:
    """The section of params.yaml as `model`.

    Raises SystemExit with one line that names every wrong parameter, its value and what is allowed.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise SystemExit(f"{path} is not here; start the stage in its pipeline's folder") from None
    if not isinstance(document, dict) or section not in document:
        raise SystemExit(f"{path} has no section '{section}'; declare `params: [{section}]` in dvc.yaml")
    try:
        return model.model_validate(document[section] or {})
    except ValidationError as error:
        raise SystemExit(f"{path}: {explain(error, model, section)}") from None


def explain(error: ValidationError, model: type[BaseModel], section: str) -> str:
    """What is wrong, parameter by parameter, as one line: `detect.batch is 0: should be greater than ...`."""
    faults = []
    for fault in error.errors():
        name = ".".join([section, *map(str, fault["loc"])])
        if fault["type"] == "extra_forbidden":
            faults.append(f"{name} is unknown; {section} has {', '.join(model.model_fields)}")
        else:
            faults.append(f"{name} is {fault['input']!r}: {fault['msg'].removeprefix('Input ')}")
    return "; ".join(faults)
