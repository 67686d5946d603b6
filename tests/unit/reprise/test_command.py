"""Commands run as DVC runs them: each line or item in a shell of its own, to the first that fails."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from reprise.dag.tries import tried_again_or_not
from reprise.errors import BadInput, TryAgain
from reprise.pipeline.stages import Meta, Pipeline, Stage
from reprise.stage.command import container_command


def run(folder: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(container_command(commands), cwd=folder, capture_output=True, text=True, check=False)


def test_a_comment_or_a_change_of_folder_ends_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    done = run(tmp_path, "echo first > o.txt # a note", "cd sub; x=1", 'echo "second$x" >> o.txt', "cat <<'E'\na $b\nE")
    assert (tmp_path / "o.txt").read_text() == "first\nsecond\n"
    assert done.stdout == '> echo first > o.txt # a note\n> cd sub; x=1\n> echo "second$x" >> o.txt\na $b\n'


@pytest.mark.parametrize("code", [1, 3, 137])
def test_the_first_that_fails_is_the_last(tmp_path: Path, code: int) -> None:
    done = run(tmp_path, f"exit {code}", "touch after")
    assert done.returncode == code
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, "true", f"exit {code}").returncode == code


def test_what_looks_like_a_template_or_a_format_is_a_command(tmp_path: Path) -> None:
    assert run(tmp_path, "echo '{{ ds }} %s'", "echo $0 $#").stdout == "> echo '{{ ds }} %s'\n{{ ds }} %s\n/bin/sh 0\n"
    assert run(tmp_path, "echo {{ ds }}").stdout == "{{ ds }}\n"
    assert run(tmp_path).returncode == 0


def test_airflow_reads_nothing_of_a_stages_text() -> None:
    from reprise.stage.operator import StageOperator

    stage = Stage("fit", ("sh fit.sh", "echo {{ ds }}"), meta=Meta(image="a:{{ b }}"))
    operator = StageOperator(pipeline=Pipeline("p", (stage,)), stage=stage, task_id="fit")
    operator.render_template_fields({"ds": "never"}, None)  # type: ignore[arg-type]
    assert (operator.template_fields, operator.template_ext) == ((), ())


def test_a_task_runs_what_the_runs_revision_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The DAG is rendered from what is checked out, which may have another command under the same name."""
    from reprise.stage.operator import StageOperator

    rendered = Stage("fit", ("echo new",), meta=Meta(memory="8g", network="bridge"))
    asked = Pipeline("p", (Stage("fit", ("echo old",)),))
    operator = StageOperator(pipeline=Pipeline("p", (rendered,)), stage=rendered, task_id="fit")
    operator._take_from(Pipeline.from_dict(asked.to_dict()))
    assert (operator.stage.cmd, operator.stage.meta) == (("echo old",), Meta())


@pytest.mark.parametrize(
    ("error", "again", "said"),
    [
        (TryAgain("the remote is full", "df -h"), True, "the remote is full"),
        (BadInput("no such revision", "git log"), False, "no such revision"),
        (KeyError("deps"), False, "stage fit: KeyError: 'deps'; another try would end the same way"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), False, "stage fit: UnicodeDecodeError"),
        (ConnectionError("refused"), True, "refused"),
        (OSError(28, "No space left on device"), True, "No space left"),
        (AirflowException("killed"), True, "killed"),
        (AirflowFailException("exit code 1"), False, "exit code 1"),
    ],
)
def test_only_what_another_try_can_mend_is_tried_again(error: Exception, again: bool, said: str) -> None:
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    with pytest.raises(Exception) as raised, tried_again_or_not(ti, "stage fit"):
        raise error
    assert isinstance(raised.value, AirflowFailException) is not again
    assert said in str(raised.value)
    assert pushed["problem"]
