"""A pipeline as a DAG: what a file in dags/ may add to it."""

from pathlib import Path

import pytest

from reprise.dag.render import pipeline_dag


def test_a_dag_file_adds_tags_and_overrides_what_is_said_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_VAR", str(tmp_path))
    dag = pipeline_dag(
        "pipelines/faces", tags=["team"], description="Ours.", default_args={"owner": "me"}, max_active_runs=1
    )
    assert dag.tags == {"reprise", "faces", "team"}
    assert (dag.description, dag.max_active_runs) == ("Ours.", 1)
    assert dag.task_dict["train"].owner == "me"
    assert dag.task_dict["open"].retry_delay.total_seconds() == 5
