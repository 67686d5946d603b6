"""Whatever a parameter is called and however long it is, MLflow takes it: one that it refused would lose them all."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities import Param
from mlflow.utils.validation import _validate_batch_log_limits, _validate_param, _validate_param_keys_unique

from reprise.tracking.mlflow_server import _params


def _taken(values: dict[str, Any]) -> dict[str, str]:
    sent = _params(values)
    taken = [Param(pair["key"], pair["value"]) for pair in sent]
    for param in taken:
        _validate_param(param.key, param.value)
    _validate_param_keys_unique(taken)
    assert len(taken) == len(values)
    _validate_batch_log_limits([], taken[:100], [])
    return {param.key: param.value for param in taken}


def test_names_that_mlflow_refuses() -> None:
    names = ["lr(max)", "lr[max]", "", ".", "..", "/a", "a//b", "a/b", "größe", "x" * 300, "x" * 299 + "y", "train.lr"]
    taken = _taken(dict.fromkeys(names, "1"))
    assert {"lr_max_", "lr_max__2", "train.lr", "größe", "a/b"} <= set(taken)


def test_a_long_value_is_cut_off() -> None:
    (value,) = _taken({"words": "w" * 10_000}).values()
    assert len(value) == 6000
    assert value.endswith("w…")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=8) | st.text("./_ab(", max_size=5), st.text(max_size=5), max_size=8))
def test_any_name(values: dict[str, str]) -> None:
    _taken(values)
