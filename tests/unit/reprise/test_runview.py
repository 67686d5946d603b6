"""What the page of a run says: verdicts and why, what changed against the record before."""

from typing import Any

from reprise.messages import Done
from reprise.pipeline.schema import about
from reprise.pipeline.stages import Artifact, Out, Pipeline, Stage
from reprise.ui.runview import Facts, Task, changed_params, environment, gist, outputs, stage_rows, why_ran

PIPELINE = Pipeline(
    "pipelines/p",
    (
        Stage("a", ("run a",), outs=(Out("a.csv"),), desc="First."),
        Stage("b@1", ("run b",), outs=(Out("b.json", "metric"),), upstream=("a",)),
    ),
    (Artifact("report", "b.html", "report"),),
)


def entry(md5: str = "1" * 32, size: int = 10, top: int = 3, cmd: str = "run a", dep: str = "d" * 32) -> dict[str, Any]:
    return {
        "cmd": cmd,
        "deps": [{"path": "../docker/stages.lock", "md5": "e" * 32}, {"path": "in.csv", "md5": dep, "size": 5}],
        "params": {"params.yaml": {"a": {"top": top}}},
        "outs": [{"path": "a.csv", "md5": md5, "size": size}],
    }


def done(verdict: str = "ran", **given: Any) -> Done:
    return Done(verdict=verdict, entry=entry(**given), seconds={"run": 1.0}, device="cpu")


def facts(tasks: dict[str, Task], stages: dict[str, Done], top: int = 3, state: str = "running") -> Facts:
    opened: Any = {
        "pipeline": PIPELINE.to_dict(),
        "params": f"a: {{top: {top}}}\n",
        "images": {"a": "image:1", "b@1": "image:1"},
        "image_id": "sha256:1",
    }
    return Facts("p", "r", state, tasks=tasks, opened=opened, done=stages)


def states(**given: str) -> dict[str, Task]:
    return {name.replace("__", "--"): Task(name.replace("__", "--"), state) for name, state in given.items()}


def test_a_row_for_each_task_in_the_pipelines_order_with_verdict_and_reason() -> None:
    run = facts(states(record="", b__1="running", a="success", open="success"), {"a": done("cached")})
    rows = stage_rows(run, None)
    assert [(row.name, row.verdict) for row in rows] == [
        ("open", "done"),
        ("a", "cached"),
        ("b@1", "running"),
        ("record", "waiting"),
    ]
    assert rows[1].why == "nothing that it depends on has changed"
    assert run.running


def test_a_failed_task_says_what_it_said_and_one_that_said_nothing_too() -> None:
    said = Task("a", "failed", problem="stage a failed with exit code 1")
    run = facts(
        {"open": Task("open", "success"), "a": said, "b--1": Task("b--1", "upstream_failed")}, {}, state="failed"
    )
    rows = {row.name: row for row in stage_rows(run, None)}
    assert rows["a"].why == "stage a failed with exit code 1"
    assert rows["b@1"].why == "a stage before it failed"
    lost = stage_rows(facts({"a": Task("a", "failed")}, {}, state="failed"), None)
    assert "marked failed, killed or lost" in lost[0].why
    assert not run.running


def test_the_gist_of_a_failure_is_the_line_that_says_the_reason() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    x[0]\n    ~^^^\nIndexError: no x'
    )
    failed = "stage a failed with exit code 1; last lines:\n"
    assert gist(failed + trace) == "IndexError: no x"
    assert gist(f"{failed}a: 3 of 4\na: the data cross a limit\n  next: mend them") == "a: the data cross a limit"
    killed = "stage a was killed (exit code 137: out of memory)"
    assert gist(f"{killed}; last lines:\nepoch 3") == killed
    assert gist("no image stages:1\n  next: make image") == "no image stages:1"
    assert gist("; ".join(f"{n}.csv changed" for n in range(3))) == "0.csv changed; 1.csv changed; 2.csv changed"
    assert gist("; ".join(f"{n:03}.csv changed" for n in range(12))).endswith("; 008.csv changed and 3 more")


def test_before_open_has_ended_the_tasks_are_shown_as_they_are() -> None:
    run = Facts("p", "r", "failed", tasks={"open": Task("open", "failed", problem="bad inbox"), "a": Task("a", "")})
    assert [(row.name, row.why) for row in stage_rows(run, None)] == [("open", "bad inbox"), ("a", "")]
    assert (environment(run), changed_params(run, None), outputs(run)) == ([], [], {})


def test_why_a_stage_ran_names_what_differs() -> None:
    assert why_ran(entry(), None) == "no run recorded before has this stage"
    assert why_ran(entry(top=5), entry()) == "a.top 3 → 5"
    assert why_ran(entry(dep="f" * 32, cmd="run c"), entry()) == "command changed; in.csv changed"
    assert why_ran(entry(), entry()) == "asked to run again, or its earlier result was lost"
    fewer = {**entry(), "deps": entry()["deps"][:1]}
    assert why_ran(fewer, entry()) == "in.csv is no longer read"


def test_data_says_what_changed_against_the_record_before() -> None:
    tasks = states(open="success", a="success", b__1="success", record="success")
    before = facts(tasks, {"a": done()}, state="success")
    for given, change in (
        ({}, "same"),
        ({"md5": "2" * 32, "size": 1010}, "+1,000 bytes"),
        ({"md5": "2" * 32}, "other content, same size"),
    ):
        row = stage_rows(facts(tasks, {"a": done(**given)}), before)[1]
        assert [item.change for item in row.outs] == [change]
    assert stage_rows(facts(tasks, {"a": done()}), None)[1].outs[0].change == "new"
    assert changed_params(facts(tasks, {}, top=4), before) == [("a.top", "3", "4")]


def test_environment_names_images_and_locks() -> None:
    run = facts(states(open="success", a="success"), {"a": done()})
    assert environment(run) == [
        ("image of all stages", "image:1"),
        ("image id", "sha256:1"),
        ("stages.lock", "e" * 32),
    ]


def test_a_fields_help_says_type_range_choices_and_default() -> None:
    whole = {"type": "integer", "minimum": 1, "maximum": 9, "default": 3, "description": "How many."}
    assert about(whole) == "How many. Integer, 1 to 9. Empty: what the revision says (default 3)."
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.5}
    assert about(share) == "Number, more than 0 to 1. Empty: what the revision says (default 0.5)."
    choice = {"type": "string", "enum": ["x", "y"], "default": "x", "description": "Which"}
    assert about(choice) == 'Which. One of x, y. Empty: what the revision says (default "x").'
    assert about({"type": "boolean", "default": True}).startswith("True or false. Never touched: ")
    empty = {"type": ["integer", "null"], "minimum": 32, "maximum": 512, "multipleOf": 16, "default": None}
    assert about(empty).startswith("Integer or null, 32 to 512, a multiple of 16. Empty: ")


def test_two_parameter_files_may_have_the_same_key_and_infinity_is_itself() -> None:
    old = {**entry(), "params": {"params.yaml": {"lr": 1, "m": {"1": "inf"}}, "sub/p.yaml": {"lr": 1}}}
    new = {**entry(), "params": {"params.yaml": {"lr": 1, "m": {"1": "inf"}}, "sub/p.yaml": {"lr": 2}}}
    assert why_ran(new, old) == "sub/p.yaml:lr 1 → 2"
