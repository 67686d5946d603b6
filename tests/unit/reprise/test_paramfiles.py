"""Parameter files of every kind: stages read, and dvc.lock records, what they do with plain ``dvc repro``."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from repository import commit

from reprise import git, workspace
from reprise.errors import BadInput
from reprise.pipeline import manifest, paramfiles, params
from reprise.run.opening import Request, check
from reprise.settings import Settings
from reprise.stage.sandbox import Sandbox
from reprise.workspace import Workspace

# Writes what it finds under each key to o, with types; YAML by a reader of 1.1 and one of 1.2.
READER = """
import importlib.util, json, sys, tomllib
from pathlib import Path
import yaml
from ruamel.yaml import YAML

file, keys = Path(sys.argv[1]), sys.argv[2:]
if file.suffix == ".py":
    spec = importlib.util.spec_from_file_location("settings", file)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    read = [vars(module)]
elif file.suffix == ".json":
    read = [json.loads(file.read_text("utf-8"))]
elif file.suffix == ".toml":
    read = [tomllib.loads(file.read_text("utf-8"))]
else:
    read = [yaml.safe_load(file.read_text("utf-8")), YAML(typ="safe").load(file.read_text("utf-8"))]
lines = []
for key in keys:
    for value in read:
        for step in key.split("/"):
            value = value[int(step)] if step.isdigit() and isinstance(value, list) else (
                getattr(value, step) if isinstance(value, type) else value[step])
        lines.append(f"{key}: {value!r}")
Path("o").write_text("\\n".join(lines), "utf-8")
"""

YAML_TEXT = """\
# before
base: &base
  rate: 1e-3   # text to PyYAML
  when: 12:30
on: yes
quoted: "yes"
train:
  <<: *base
  octal: 012
  none: ~
  folded: >-
    two
    lines
  über: größer
steps: [1, {size: 1_000}, 3.50]
secret: 1
numbered: {1: one, 10: ten, 2: two}
far: .inf
empty: {"": 3}
"""
TOML_TEXT = """\
lr = 1e-3
secret = "s"
"dotted.key" = 1
[data]
dir = "in"
parts = [1, 2.5, "three"]
[data.more]
deep = true
[[layers]]
size = 1
[[layers]]
size = 2
"""
PY_TEXT = """\
import os
LR = 0.1
SECRET = LR * 2
CONFIG = {"size": 3, "steps": [1, 2]}
PAIR = (1, 2)
class Train:
    epochs = 5
    def __init__(self):
        self.depth = 3
"""
JSON_TEXT = '{"model": {"size": 1e3, "name": "größe", "odd": "\\ud800"}, "secret": 2, "list": [1, [2]], "n": null}'


@dataclass(frozen=True)
class Case:
    """One stage that takes parameters from one file."""

    file: str
    """Relative to the pipeline's folder."""
    text: str
    declared: str
    """What stands in the stage's ``params:``."""
    read: tuple[str, ...]
    """What the stage reads of it, steps divided by slashes."""
    wdir: str = "."


CASES = {
    "nested yaml": Case(
        "params.yaml",
        YAML_TEXT,
        "[base.rate, train, quoted, 'on']",
        ("base/rate", "train/rate", "train/when", "train/octal", "train/none", "train/folded", "train/über", "quoted"),
    ),
    "below a merge": Case("params.yaml", YAML_TEXT, "[train.rate, train.octal]", ("train/rate", "train/octal")),
    "index": Case("params.yaml", YAML_TEXT, "[steps.1.size, steps.-1]", ("steps/1/size", "steps/2")),
    "glob": Case("params.yaml", YAML_TEXT, "['*.octal']", ("train/octal",)),
    "keys that are numbers": Case("params.yaml", YAML_TEXT, "[numbered]", ("numbered",)),
    "no end": Case("params.yaml", YAML_TEXT, "[far]", ("far",)),
    "empty key": Case("params.yaml", YAML_TEXT, "[empty]", ("empty",)),
    "whole yaml": Case("other.yaml", YAML_TEXT.replace("on: ", "off: "), "[{other.yaml: }]", ("train", "steps")),
    "yaml by another name": Case("conf/values.cfg", YAML_TEXT, "[{conf/values.cfg: [train]}]", ("train",)),
    "wdir": Case("sub/params.yaml", YAML_TEXT, "[train.octal]", ("train/octal",), wdir="sub"),
    "shared": Case("../common/shared.yaml", YAML_TEXT, "[{../common/shared.yaml: [train]}]", ("train",)),
    "wdir and shared": Case("shared.toml", TOML_TEXT, "[{../shared.toml: [lr]}]", ("lr",), wdir="sub"),
    "nested toml": Case(
        "settings.toml", TOML_TEXT, "[settings.toml: [data.dir, data.parts]]", ("data/dir", "data/parts")
    ),
    "toml tables": Case("settings.toml", TOML_TEXT, "[settings.toml: [layers, lr, data]]", ("layers", "lr", "data")),
    "toml index": Case("settings.toml", TOML_TEXT, "[settings.toml: [layers.1.size]]", ("layers/1/size",)),
    "whole toml": Case("settings.toml", TOML_TEXT, "[settings.toml: ]", ("data", "dotted.key")),
    "nested json": Case("p.json", JSON_TEXT, "[p.json: [model, list.1]]", ("model/size", "model/name", "model/odd")),
    "whole json": Case("p.json", JSON_TEXT, "[p.json: ]", ("model/size", "n")),
    "nested py": Case(
        "settings.py", PY_TEXT, "[settings.py: [LR, Train.epochs, Train.depth, CONFIG.size, PAIR]]", ("LR", "SECRET")
    ),
    "whole py": Case("settings.py", PY_TEXT, "[settings.py: ]", ("Train/epochs", "CONFIG")),
}


class Place:
    """A repository with one stage, once run with plain DVC, once as a task runs it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.origin = folder, folder / "origin"
        monkeypatch.setattr(workspace, "ROOT", self.origin)
        monkeypatch.setenv("DVC_NO_ANALYTICS", "1")

    def fill(self, case: Case) -> str:
        """Write and commit the pipeline; returns the commit."""
        pipeline = self.origin / "p"
        (pipeline / case.wdir).mkdir(parents=True)
        (pipeline / case.wdir / ".keep").touch()
        (pipeline / "reader.py").write_text(READER)
        (pipeline / case.file).parent.mkdir(parents=True, exist_ok=True)
        (pipeline / case.file).write_text(case.text, encoding="utf-8")
        words = [sys.executable, os.path.relpath("reader.py", case.wdir), os.path.relpath(case.file, case.wdir)]
        stage = {"cmd": " ".join([*words, *case.read]), "wdir": case.wdir}
        lines = [f"    {key}: {json.dumps(value)}" for key, value in stage.items()]
        lines += [f"    deps: [{words[1]}]", f"    params: {case.declared}", "    outs: [o]"]
        (pipeline / "dvc.yaml").write_text("\n".join(["stages:", "  s:", *lines, ""]))
        git.git(self.origin, "init", "--quiet", "--initial-branch=main")
        (self.origin / ".dvc").mkdir()
        (self.origin / ".dvc/config").write_text(
            f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {self.folder}/remote\n"
        )
        return commit(self.origin)

    def plain(self) -> Path:
        """The pipeline's folder after ``dvc repro`` in a clone."""
        clone = self.folder / "plain"
        git.git(self.folder, "clone", "--quiet", str(self.origin), str(clone))
        with pytest.MonkeyPatch.context() as there:
            there.chdir(clone / "p")
            with Repo(str(clone)) as repo:
                repo.reproduce()
        return clone / "p"

    def ours(self, revision: str) -> Sandbox:
        """The sandbox in which the stage has run, its workspace with the outputs and dvc.lock."""
        work = Workspace.create(Settings(origin=str(self.origin)), self.folder / "clone", "p", revision)
        pipeline = manifest.read(work.path, "p")
        params.write_text(work.folder, params.apply(work.folder, {}))
        paramfiles.check(work.folder, "p", pipeline.stages)
        (stage,) = pipeline.stages
        sandbox = Sandbox.build(work, stage, self.folder / "sandbox", self.folder / "live")
        inside = sandbox.path / "p"
        for dep in stage.deps:  # what is mounted in a container
            (inside / dep).write_bytes((work.folder / dep).read_bytes())
        subprocess.run(stage.cmd, shell=True, cwd=inside / stage.wdir, check=True, timeout=60)
        sandbox.collect()
        entry = json.loads(json.dumps(work.commit("s"), allow_nan=False))  # as it travels
        work.write_lock({"s": entry})
        work.push("s", entry)
        return sandbox


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_stage_reads_and_dvc_lock_records_what_plain_dvc_does(place: Place, case: Case) -> None:
    revision = place.fill(case)
    plain, ours = place.plain(), place.ours(revision)
    out = os.path.join(case.wdir, "o")
    assert (ours.workspace.folder / out).read_text() == (plain / out).read_text() != ""
    assert (ours.workspace.folder / "dvc.lock").read_text() == (plain / "dvc.lock").read_text()
    remembered = [sorted(p.relative_to(f) for p in f.rglob("*")) for f in _runs(place)]
    assert remembered[0] == remembered[1] != []
    held = (ours.path / "p" / case.file).read_text()
    if not case.file.endswith(".py") and ": ]" not in case.declared and ": }" not in case.declared:
        assert "secret" not in held, "a stage sees what it declares"


def _runs(place: Place) -> tuple[Path, Path]:
    """The run-caches of plain DVC and of our workspace."""
    return place.folder / "plain/.dvc/cache/runs", place.folder / "remote/runs"


@pytest.mark.parametrize(
    ("file", "text", "declared", "said"),
    [
        (
            "params.yaml",
            "lr: 1\n",
            "[rate]",
            "stage s: parameter file params.yaml has no key 'rate'\n  next: add it to p/params.yaml",
        ),
        ("params.yaml", "a.b: 1\n", "[a.b]", "has no key 'a.b'"),
        ("params.yaml", "m: {a: {x: 1}, b: {x: 2}}\n", "['m.*.x']", r"the key 'm.\*.x' matches 2 values"),
        ("a.yaml", "lr: 1\n", "[{b.yaml: [lr]}]", "parameter file b.yaml does not exist in this revision\n  next: git add p"),
        ("a.yaml", "lr: [\n", "[{a.yaml: [lr]}]", "stage s: parameter file a.yaml cannot be used: while parsing"),
        ("a.toml", "lr = \n", "[{a.toml: [lr]}]", "stage s: parameter file a.toml cannot be used"),
        ("a.json", "{", "[{a.json: [lr]}]", "stage s: parameter file a.json cannot be used"),
        ("a.py", "lr = (", "[{a.py: [lr]}]", "stage s: parameter file a.py cannot be used"),
        ("a.py", "lr = {[]: 1}", "[{a.py: [lr]}]", "stage s: parameter file a.py cannot be used"),
        ("a.py", "lr = {1, 2}", "[{a.py: [lr]}]", "a.py cannot be used: Object of type set is not JSON"),
        ("a.toml", "day = 2020-01-01", "[{a.toml: [day]}]", "a.toml cannot be used: Object of type date is not JSON"),
        ("a.yaml", "1: a\nb: c", "[{a.yaml: }]", "a.yaml cannot be used: '<' not supported"),
        ("a/b.yaml", "lr: 1", "[{a: [lr]}]", "parameter file a cannot be used: .*directory"),
    ],
)  # fmt: skip
def test_what_a_stage_would_not_find_is_refused_beforehand(
    place: Place, file: str, text: str, declared: str, said: str
) -> None:
    place.fill(Case(file, text, declared, ()))
    pipeline = manifest.read(place.origin, "p")
    with pytest.raises(BadInput, match=said):
        paramfiles.check(place.origin / "p", "p", pipeline.stages)


def test_open_refuses_it_before_it_looks_for_an_image(place: Place) -> None:
    place.fill(Case("sub/params.yaml", "lr: 1\n", "[rate]", (), wdir="sub"))
    settings = Settings(origin=str(place.origin), var=place.folder / "var")
    with pytest.raises(BadInput, match="stage s: parameter file sub/params.yaml has no key 'rate'"):
        check(settings, Request("p", "p", "r"), place.folder / "clone", {"s": []})


@pytest.mark.parametrize(
    ("text", "declared", "said"),
    [
        ("day: 2020-01-01\n", "[day]", "Unsupported value of type 'date'.*\n  next: put dates in quotes"),
        ("lr: 1\n", "[{../../outside.yaml: [lr]}]", "stage s: parameter file ../../outside.yaml lies outside"),
        ("lr: 1\n", "[{o: [lr]}]", "both a dependency and an output in stage"),
    ],
)
def test_what_cannot_be_known_beforehand_is_refused(place: Place, text: str, declared: str, said: str) -> None:
    place.fill(Case("params.yaml", text, declared, ()))
    with pytest.raises(BadInput, match=said):
        manifest.read(place.origin, "p")


def test_values_that_a_stage_in_a_folder_of_its_own_takes_are_part_of_the_manifest(place: Place) -> None:
    """``vars:`` of a stage are looked for in its wdir, which may itself be made of values."""
    place.fill(Case("params.yaml", "where: sub\n", "[where]", ()))
    folder, store = place.origin / "p", place.folder / "store"
    stage = "stages:\n  s:\n    wdir: ${where}\n    vars: [own.yaml]\n    cmd: echo ${say}\n"
    (folder / "dvc.yaml").write_text(stage)
    (folder / "sub").mkdir()
    said: list[Any] = []
    for word in ("one", "two", "one"):
        (folder / "sub/own.yaml").write_text(f"say: {word}\n")
        said.append(manifest.load(place.origin, "p", store).stages[0].cmd)
    assert said == [("echo one",), ("echo two",), ("echo one",)]
    (folder / "other.yaml").write_text("say: three\n")  # read by nobody
    (folder / "params.yaml").write_text("where: sub\nmore: 1\n")
    made = len(list(store.glob("*.json")))
    manifest.load(place.origin, "p", store)
    assert len(list(store.glob("*.json"))) == made + 1
