"""Render a pipeline as an Airflow DAG: open → its stages, in its own graph → record. The only DAG builder."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from airflow.sdk import DAG, BaseNotifier, Param, get_current_context, task

from reprise.dag import assets, pools
from reprise.dag.notify import default, on_failure, tell_ended
from reprise.dag.schedule import START, WhenNewData, timetable, watcher
from reprise.dag.tries import tried_again_or_not
from reprise.messages import GATE, OPEN, RECORD, Opened
from reprise.pipeline import manifest, params
from reprise.pipeline import schema as schemas
from reprise.pipeline.stages import Pipeline
from reprise.run import relisted
from reprise.run.opening import Request, moment
from reprise.settings import ROOT, Settings
from reprise.settings import load as load_settings
from reprise.stage.operator import StageOperator
from reprise.ui.links import page_links

_RUN = "run"
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def pipeline_dag(
    path: str,
    schedule: str | WhenNewData | None = None,
    notify: Sequence[BaseNotifier] | None = None,
    **dag_options: Any,
) -> DAG:
    """The DAG of the pipeline in folder ``path`` (relative to the repository).

    :param schedule: a cron, whose data intervals are the runs' dates; :func:`reprise.dag.schedule.when_new_data`; or
        None for runs by hand only. The pipeline runs by itself only where the setting ``REPRISE_SCHEDULE`` is ``on``.
    :param notify: Airflow notifiers that are told of success, failure and promotions, made or refused; None: those
        that the settings name.
    :param dag_options: passed on to :class:`airflow.sdk.DAG`: ``max_active_runs``, ``tags`` (besides ours), …
    """
    settings = load_settings()
    pipeline = manifest.load(ROOT, path, settings.var / "manifests")
    schema = schemas.load_schema(ROOT / path) or {}
    told = default() if notify is None else list(notify)
    options: dict[str, Any] = {
        "description": f"{len(pipeline.stages)} stages of {path}/dvc.yaml",
        "doc_md": _doc(pipeline),
        "start_date": START,
        "catchup": False,
        # Of runs at once; a backfill has a limit of its own (--max-active-runs).
        "max_active_runs": 4,
        "on_failure_callback": on_failure(told),
        **dag_options,
        "tags": sorted({"reprise", pipeline.name, *dag_options.get("tags", ())}),
        "default_args": {"retry_delay": dt.timedelta(seconds=5), **dag_options.get("default_args", {})},
    }
    if isinstance(schedule, WhenNewData):
        watcher(pipeline.name, schedule.at_most, {"on_failure_callback": options["on_failure_callback"]})
    with DAG(
        pipeline.name,
        params=_form(schema, settings, pipeline.reads_inbox),
        schedule=timetable(schedule, pipeline.name),
        **options,
    ) as dag:
        _add_tasks(pipeline, told)
    return dag


def _add_tasks(pipeline: Pipeline, told: Sequence[BaseNotifier]) -> None:
    settings = load_settings()
    opened, recorded = _open_task(pipeline), _record_task(pipeline, told)
    for end in (opened, recorded):
        end.operator.operator_extra_links = page_links(pipeline.reports)
    done = {}
    for stage in pipeline.stages:
        done[stage.name] = StageOperator(
            pipeline=pipeline,
            stage=stage,
            task_id=stage.task_id,
            queue=stage.meta.queue,
            outlets=[assets.alias(pipeline, stage)],
            **pools.limits(stage.meta, settings),
            retries=stage.meta.retries,
            execution_timeout=dt.timedelta(seconds=stage.meta.timeout) if stage.meta.timeout else None,
            doc_md="\n\n".join([stage.desc, *(f"`{command}`" for command in stage.cmd)]),
        )
        for upstream in stage.upstream:
            done[upstream] >> done[stage.name]
        if not stage.upstream:
            opened >> done[stage.name]
    needed = {name for stage in pipeline.stages for name in stage.upstream}
    for name in sorted(set(done) - needed):
        done[name] >> recorded
    if pipeline.comparing and pipeline.comparing.meta.champion:
        recorded >> _gate_task(pipeline, pipeline.comparing.meta.champion, told)


def _open_task(pipeline: Pipeline) -> Any:
    @task(
        task_id=OPEN,
        retries=1,
        show_return_value_in_logs=False,
        doc_md="Pins revision, params and inbox listing; checks them; plans the run.",
    )
    def open_() -> dict[str, Any]:
        from reprise.run.opening import open_run

        context = get_current_context()
        run = context["dag_run"]
        tags = {"run_type": str(run.run_type.value)}
        if run.logical_date:  # a run by hand has none
            tags["logical_date"] = run.logical_date.isoformat()
        with tried_again_or_not(context["ti"], OPEN):
            opened = open_run(load_settings(), _request(pipeline, context), pipeline.shape(), tags)
        say_plan(pipeline, opened)
        return dict(opened)

    return open_()


def _record_task(pipeline: Pipeline, told: Sequence[BaseNotifier]) -> Any:
    @task(
        task_id=RECORD,
        retries=2,
        show_return_value_in_logs=False,
        doc_md="Joins everything the run is made of into one git commit.",
    )
    def record_() -> dict[str, Any]:
        from reprise.run.recording import record

        context = get_current_context()
        ti = context["ti"]
        done = {stage.name: ti.xcom_pull(task_ids=stage.task_id) for stage in pipeline.stages}
        opened = ti.xcom_pull(task_ids=OPEN)
        with tried_again_or_not(ti, RECORD):
            recorded = record(load_settings(), _request(pipeline, context), pipeline, opened, done)
        print(f"recorded as {recorded['commit']} ({recorded['ref']})")
        if not pipeline.comparing:
            tell_ended(told, context, pipeline, recorded, None, done)
        return dict(recorded)

    return record_()


def _gate_task(pipeline: Pipeline, model: str, told: Sequence[BaseNotifier]) -> Any:
    # One at a time for all runs of the DAG: between reading the alias and moving it nobody else does.
    @task(task_id=GATE, retries=1, max_active_tis_per_dag=1, doc_md="Makes the run's model champion, or says why not.")
    def gate_() -> dict[str, Any]:
        from reprise.run.gate import judge

        context = get_current_context()
        ti = context["ti"]
        opened, recorded = ti.xcom_pull(task_ids=OPEN), ti.xcom_pull(task_ids=RECORD)
        with tried_again_or_not(ti, GATE):
            judged = judge(load_settings(), model, opened["champion"], recorded, ti.run_id, opened["as_of"])
        print(f"{judged['verdict']}: {judged['reason']}")
        done = {stage.name: ti.xcom_pull(task_ids=stage.task_id) for stage in pipeline.stages}
        tell_ended(told, context, pipeline, recorded, judged, done)
        return dict(judged)

    return gate_()


def say_plan(pipeline: Pipeline, opened: Opened) -> None:
    """The plan, in the task's log."""
    print(f"revision {opened['revision']}, inbox {opened['inbox']}, as of {opened['as_of'] or 'now'}")
    if opened["champion"]:
        print(f"champion: {opened['champion']['why']}")
    if len(opened["known"]) == len(pipeline.stages):
        print("nothing new: every stage's result is known, no container starts and no model is made")
    for line in relisted.lines(opened["relisted"]):
        print(f"  warning: {line}; this run takes what is there now")
    for stage in pipeline.stages:
        print(
            f"  {stage.name}: {'cached' if stage.name in opened['known'] else 'to run, unless its inputs come out as before'}"
        )


def _request(pipeline: Pipeline, context: Any) -> Request:
    """What the trigger asked for; keys that neither the form nor the schema knows are refused further on."""
    run, given = context["dag_run"], {**context["params"]}
    overrides = {k: v for k, v in {**given, **(run.conf or {})}.items() if k not in params.RESERVED and v is not None}
    asked = given.get("as_of")
    as_of = moment(asked) if asked else run.data_interval_end if run.logical_date else None
    return Request(
        pipeline=pipeline.path,
        dag_id=run.dag_id,
        run_id=run.run_id,
        revision=given.get("revision") or load_settings().revision,
        overrides=overrides,
        inbox=given.get("inbox") or None,
        as_of=as_of,
        arrived=given.get("arrived") or None,
        ignore_cache=bool(given.get("ignore_cache")),
        # The schedule's own runs see what had arrived by now; every other run with a date looks back.
        past=as_of is not None and run.run_type not in ("scheduled", "asset_triggered"),
    )


def _form(schema: dict[str, Any], settings: Settings, reads_inbox: bool) -> dict[str, Param]:
    """The trigger form: what is left alone is not overridden."""
    form = {
        "revision": Param(
            settings.revision,
            type="string",
            minLength=1,
            title="Revision",
            section=_RUN,
            description="Branch, tag or commit to run.",
        ),
        "ignore_cache": Param(
            False, type="boolean", title="Ignore cache", section=_RUN, description="Run every stage again."
        ),
    }
    if reads_inbox:
        about = f"Folder, object-store URL or list (.csv, .parquet), with or without dates. Empty: {settings.inbox}"
        form["inbox"] = Param(None, type=["null", "string"], title="Inbox", section=_RUN, description=about)
        about = "See only what had arrived before this moment. Empty: the run's data interval, or everything."
        form["as_of"] = Param(
            None, type=["null", "string"], format="date-time", title="As of", section=_RUN, description=about
        )
        about = "Date on which an inbox without dates arrived; names its partition."
        form["arrived"] = Param(
            None, type=["null", "string"], format="date", title="Arrived", section=_RUN, description=about
        )
    leaves = schemas.leaves(schema)
    for name, keys in params.named(leaves).items():
        if name not in params.RESERVED:
            form[name] = _field(name, leaves[keys])
    return form


def _field(name: str, leaf: schemas.Leaf) -> Param:
    types = schemas.kinds(leaf) or ["string", "number", "boolean"]
    kept: dict[str, Any] = {k: leaf[k] for k in ("items", "pattern") if k in leaf and "$ref" not in str(leaf[k])}
    limits = {k: leaf[k] for k in _LIMITS if k in leaf}
    if limits:
        # Below allOf the form does not see them: it would make 10000 of 99999 without a word. Airflow refuses it so.
        kept["allOf"] = [limits]
    if "enum" in leaf:
        choices = [value for value in leaf["enum"] if value is not None]
        kept["enum"] = [None, *choices]
        kept["values_display"] = {"null": "(as the revision says)", **{str(value): str(value) for value in choices}}
    return Param(
        None,
        type=["null", *(kind for kind in types if kind != "null")],
        title=name,
        section=name.split(".")[0],
        description=schemas.about(leaf),
        **kept,
    )


def _doc(pipeline: Pipeline) -> str:
    """What the DAG's page says: its stages and what each does."""
    rows = "\n".join(f"| `{s.name}` | {s.desc} |" for s in pipeline.stages)
    return f"Rendered from `{pipeline.path}/dvc.yaml`. Add a stage there and it is here.\n\n| stage | |\n|---|---|\n{rows}\n"
