"""What names a run, a task or a folder names nothing else, and is a name for every file system and for git."""

import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from reprise.folders import slug, task_folder
from reprise.messages import GATE, OPEN, RECORD
from reprise.pipeline.stages import Artifact, Meta, Out, Pipeline, Stage
from reprise.run.records import ref_name, ref_of
from reprise.settings import Settings

FEW = settings(max_examples=150, deadline=None, derandomize=True)
ids = st.one_of(
    st.text(alphabet="aA1._-:+=@{~/ \n\u00e9e\u0301", max_size=8),
    st.text(max_size=300),
    st.text(alphabet=string.ascii_lowercase + ".-_", min_size=1, max_size=20).map(lambda text: f"{text}.lock"),
)
pipelines = st.text(alphabet="pq-2", min_size=1, max_size=4)
runs = st.one_of(ids, st.text(alphabet="pq-2", max_size=6), st.sampled_from(["p-20261122-101112", "20261122-101112"]))


@pytest.mark.parametrize("text", ["faces", "faces-20261122-101112", "manual__1", "detect", "data_gate", "a.b", "1"])
def test_ordinary_ids_stay_as_they_are(text: str) -> None:
    assert slug(text) == text


def test_others_stay_readable() -> None:
    assert slug("manual__2026-11-22T10:11:12+00:00") == "manual__2026-11-22T10-11-12-00-00=2c527819"
    assert ref_name("pipelines/p", "p-20261122-101112") == "p-20261122-101112"
    assert ref_name("pipelines/p", "nightly").startswith("p-nightly=")


@FEW
@given(ids, ids)
@example("manual:1", "manual+1")
@example("manual:1", "manual-1")
@example("Run", "run")
@example("a.", "a")
@example("\u00e9", "e\u0301")
@example("x" * 151, "x" * 152)
@example("a:b", slug("a:b"))
def test_two_ids_have_two_names(one: str, other: str) -> None:
    assume(one != other)
    assert slug(one).casefold() != slug(other).casefold()


@FEW
@given(ids)
@example("")
@example("..")
@example("a..b")
@example("a.lock")
@example("@{u}")
@example("-f")
@example("~" * 400)
@example("\ud800")
def test_an_id_names_a_file_and_a_ref(text: str) -> None:
    name = slug(text)
    assert len(name) <= 150 and name.isascii() and "/" not in name and name not in (".", "..")
    for ref in (f"refs/exps/aa/bb/{name}", ref_of("pipelines/p", text, "a" * 40)):
        assert subprocess.run(["git", "check-ref-format", ref], check=False).returncode == 0, ref


@FEW
@given(pipelines, runs, pipelines, runs)
@example("p", "2-x", "p-2", "x")
@example("p", "x", "p", "p-x")
@example("p", "p-2-x", "p-2", "p-2-x")
@example("p", "20261122-101112", "p", "p-20261122-101112")
def test_two_runs_have_two_records(pipeline: str, run: str, other_pipeline: str, other: str) -> None:
    assume((pipeline, run) != (other_pipeline, other))
    assert (
        ref_name(f"pipelines/{pipeline}", run).casefold() != ref_name(f"pipelines/{other_pipeline}", other).casefold()
    )


def test_no_two_tasks_share_a_folder(tmp_path: Path) -> None:
    place = Settings(var=tmp_path)
    tasks = [("d", "r:1", "t"), ("d", "r+1", "t"), ("D", "r:1", "t"), ("d", "r:1", "T"), ("d", "r-1", "t")]
    assert len({str(task_folder(place, *task)).casefold() for task in tasks}) == len(tasks)


stage_names = st.text(alphabet="ab-_@.\u00e9\u00fc ", min_size=1, max_size=8)


@FEW
@given(stage_names, stage_names)
@example("fe@a", "fe--a")
@example("a-@b", "a@-b")
@example("fe@\u00e9", "fe@\u00fc")
def test_two_stages_have_two_tasks(one: str, other: str) -> None:
    assume(one != other)
    assert Stage(one, ("true",)).task_id != Stage(other, ("true",)).task_id


@pytest.mark.parametrize("name", [OPEN, RECORD, GATE])
def test_a_stage_is_told_from_the_tasks_around_it(name: str) -> None:
    assert Stage(name, ("true",)).task_id not in (OPEN, RECORD, GATE)


@FEW
@given(st.text(min_size=1, max_size=300))
def test_a_stage_has_a_name_for_airflow(name: str) -> None:
    task = Stage(name, ("true",)).task_id
    assert set(task) <= set(string.ascii_letters + string.digits + "_.-") and 1 <= len(task) <= 250


@pytest.mark.parametrize(("name", "task"), [("train", "train"), ("Fe@a", "Fe--a"), ("t@m0-x.5", "t--m0-x.5")])
def test_ordinary_stages_have_readable_tasks(name: str, task: str) -> None:
    assert Stage(name, ("true",)).task_id == task


words = st.text(max_size=8)
names = st.lists(words, max_size=3).map(tuple)
metas = st.builds(
    Meta,
    gpus=st.integers(0, 8),
    queue=words,
    timeout=st.none() | st.floats(0, 1e9),
    memory=st.none() | words,
    network=st.none() | words,
    partitioned=st.booleans(),
    champion=st.none() | words,
    headline=names,
)
stages = st.builds(
    Stage,
    name=words,
    cmd=names,
    wdir=words,
    deps=names,
    params=st.dictionaries(words, names, max_size=2),
    outs=st.lists(
        st.builds(Out, path=words, kind=st.sampled_from(["out", "metric", "plot"]), cached=st.booleans()), max_size=3
    ).map(tuple),
    upstream=names,
    desc=words,
    meta=metas,
)


@FEW
@given(
    st.builds(
        Pipeline,
        path=words,
        stages=st.lists(stages, max_size=4).map(tuple),
        artifacts=st.lists(st.builds(Artifact, name=words, path=words, type=words), max_size=2).map(tuple),
    )
)
def test_a_manifest_is_read_as_it_was_written(pipeline: Pipeline) -> None:
    assert Pipeline.from_dict(pipeline.to_dict()) == pipeline
