"""Whatever a parameter, metric or stage is called, MLflow takes a name for it, and never one for two."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name, _validate_param_name

from reprise.tracking.names import allowed


@pytest.mark.parametrize("name", ["lr", "train/loss", "train.epochs", "a b", "results/a.json:loss", ".hidden", "x-1_2"])
def test_what_mlflow_takes_stays(name: str) -> None:
    assert allowed(name) == name


def test_what_it_refuses_stays_readable() -> None:
    assert allowed("lr(max)").startswith("lr_max_-")
    assert allowed("train@de/loss").startswith("train_de/loss-")
    assert allowed("../a.json:loss").startswith("_/a.json:loss-")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.text(alphabet="a(é@./:\n _-", max_size=8) | st.text(max_size=300), min_size=2, max_size=2, unique=True)
)
def test_every_name_becomes_one_that_mlflow_takes_and_no_two_the_same(names: list[str]) -> None:
    for name in map(allowed, names):
        _validate_metric_name(name)
        _validate_param_name(name)
        assert len(name) <= MAX_ENTITY_KEY_LENGTH
    assert allowed(names[0]) != allowed(names[1])
