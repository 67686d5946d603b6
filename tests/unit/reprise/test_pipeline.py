"""dvc.yaml as DVC itself reads it, and the values made of it."""

import json
from pathlib import Path

import pytest

from reprise import git
from reprise.errors import BadInput
from reprise.pipeline import manifest
from reprise.pipeline.stages import Meta, Out, Pipeline

DVC_YAML = """
vars: [{names: [x, y]}]
stages:
  last:
    cmd: [echo a, echo b]
    deps: [made-x, made-y]
    metrics: [m.json]
    plots: [p.csv]
  make:
    foreach: ${names}
    do:
      cmd: echo ${item}
      deps: [make.py]
      params: [a.b]
      outs: ["made-${item}"]
      desc: Makes.
      meta: {gpus: 1, network: bridge, headline: [auc, "tar_*"]}
artifacts:
  model: {path: made-x, type: model}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git.git(tmp_path, "init", "--quiet")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").touch()
    (tmp_path / "p").mkdir()
    (tmp_path / "p/dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "p/params.yaml").write_text("a: {b: 1}\n")
    return tmp_path


def test_stages_come_in_order_with_templating_resolved(repo: Path) -> None:
    pipeline = manifest.read(repo, "p")
    assert pipeline.name == "p"
    assert pipeline.shape() == {"make@x": [], "make@y": [], "last": ["make@x", "make@y"]}
    assert pipeline.ancestors("last") == ["make@x", "make@y"]
    last = pipeline.stages[-1]
    assert last.cmd == ("echo a", "echo b")
    assert last.outs == (Out("m.json", "metric"), Out("p.csv", "plot"))
    made = pipeline.stages[0]
    assert (made.task_id, made.params, made.desc) == ("make--x", {"params.yaml": ("a.b",)}, "Makes.")
    assert made.meta == Meta(gpus=1, network="bridge", headline=("auc", "tar_*"))
    assert not pipeline.reads_inbox
    assert [(a.name, a.type) for a in pipeline.artifacts] == [("model", "model")]


def test_round_trip(repo: Path) -> None:
    pipeline = manifest.read(repo, "p")
    assert Pipeline.from_dict(json.loads(json.dumps(pipeline.to_dict()))) == pipeline


def test_kept_by_content(repo: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    before = manifest.load(repo, "p", store)
    (repo / "p/dvc.yaml").write_text(DVC_YAML.replace("[x, y]", "[x, y, z]"))
    after = manifest.load(repo, "p", store)
    assert len(after.stages) == len(before.stages) + 1
    assert len(list(store.glob("*.json"))) == 2


@pytest.mark.parametrize(("of_stage", "keys"), [(False, ""), (False, ":say"), (True, "")])
def test_values_from_another_folder_count_too(repo: Path, tmp_path: Path, of_stage: bool, keys: str) -> None:
    (repo / "shared").mkdir()
    (repo / "shared/values.yaml").write_text("say: one\n")
    taken = f"vars: [../shared/values.yaml{keys}]\n"
    own = f"    {taken}" if of_stage else ""
    text = f"stages:\n  s:\n    cmd: echo ${{say}}\n{own}"
    (repo / "p/dvc.yaml").write_text(text if of_stage else taken + text)
    assert manifest.load(repo, "p", tmp_path / "store").stages[0].cmd == ("echo one",)
    (repo / "shared/values.yaml").write_text("say: two\n")
    assert manifest.load(repo, "p", tmp_path / "store").stages[0].cmd == ("echo two",)


def test_a_manifest_that_is_kept_needs_no_dvc(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.load(repo, "p", tmp_path / "store")
    monkeypatch.setitem(__import__("sys").modules, "dvc", None)
    assert manifest.load(repo, "p", tmp_path / "store").name == "p"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gpus: 1", "gpu: 1", "unknown meta key 'gpu'"),
        ("gpus: 1", "gpus: many", "must be numbers"),
        ("headline: [auc", "headline: [7", "headline must be a list of names"),
        ('headline: [auc, "tar_*"]', "headline: auc", "headline must be a list of names"),
        ("deps: [made-x,", "deps: [made-x/part.txt,", "only a part of what make@x writes"),
        ("cmd: echo", "command: echo", "p/dvc.yaml"),
        ("network: bridge", "network: true", "network must be the name of a Docker network, or inbox"),
        ("network: bridge", "network: inbox", "make@x has the network of the inbox, but does not read the inbox"),
        ("metrics: [m.json]", "metrics: [source.json]", "last writes source.json, .* name of the inbox's listing"),
    ],
)
def test_bad_definitions_are_refused(repo: Path, old: str, new: str, said: str) -> None:
    (repo / "p/dvc.yaml").write_text(DVC_YAML.replace(old, new))
    with pytest.raises(BadInput, match=said):
        manifest.read(repo, "p")


def test_no_dvc_yaml(repo: Path) -> None:
    with pytest.raises(BadInput, match="has no dvc.yaml"):
        manifest.load(repo, "elsewhere", repo / "store")
