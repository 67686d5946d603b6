"""A pipeline as a DAG: what a file in dags/ may add to it."""

from pathlib import Path

import pytest
from airflow.sdk.exceptions import ParamValidationError

from reprise.dag.render import _field, pipeline_dag


def test_a_dag_file_adds_tags_and_overrides_what_is_said_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_VAR", str(tmp_path))
    dag = pipeline_dag(
        "pipelines/faces", tags=["team"], description="Ours.", default_args={"owner": "me"}, max_active_runs=1
    )
    assert dag.tags == {"reprise", "faces", "team"}
    assert (dag.description, dag.max_active_runs) == ("Ours.", 1)
    assert dag.task_dict["train"].owner == "me"
    assert dag.task_dict["open"].retry_delay.total_seconds() == 5


def test_who_has_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_VAR", str(tmp_path))
    tasks = pipeline_dag("pipelines/faces").task_dict.values()
    stages = {task.stage.name: task for task in tasks if hasattr(task, "stage")}
    assert {name for name, task in stages.items() if task.stage.meta.network not in (None, "inbox")} == {"weights"}
    assert {name for name, task in stages.items() if task.stage.reads_inbox} == {"download"}
    assert stages["download"].stage.meta.network == "inbox", "set when it is known what the inbox needs"


def test_the_form_refuses_what_the_schema_does_and_has_words_for_nothing_chosen() -> None:
    epochs = _field("train.epochs", {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000})
    assert not {"minimum", "maximum"} & set(epochs.schema)  # with them the form changes the value by itself
    assert (epochs.resolve(10_000), epochs.resolve(None)) == (10_000, None)
    for wrong in (99_999, 0, "abc"):
        with pytest.raises(ParamValidationError):
            epochs.resolve(wrong)
    device = _field("train.device", {"type": "string", "enum": ["auto", "cpu"]})
    labels = device.schema["values_display"]
    assert [labels["null" if choice is None else choice] for choice in device.schema["enum"]] == [
        "(as the revision says)",
        "auto",
        "cpu",
    ]
