"""A stage's container starts only if Docker says that it is confined: every kind of stage, and containers that are not."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from conftest import ROOT, docker
from docker.types import Mount
from dvc.fs import LocalFileSystem

from docker import APIClient
from reprise.errors import RepriseError
from reprise.machine.image import image_name
from reprise.pipeline.stages import INBOX, Meta, Out, Pipeline, Stage
from reprise.stage import containers
from reprise.stage.checkpoints import Checkpoints
from reprise.stage.sandbox import Sandbox
from reprise.workspace import Workspace

WRITE = "echo written > out.txt"


class Trial:
    """One try of a stage, as the operator makes it, without Airflow, DVC and MLflow around it."""

    def __init__(self, folder: Path, meta: Meta, command: str = WRITE) -> None:
        from reprise.stage.operator import StageOperator

        deps = ("data", "code.py", *(["source.json"] if meta.network == INBOX else []))
        self.stage = Stage("s", (command,), deps=deps, outs=(Out("out.txt"),), meta=meta)
        self.operator = StageOperator(pipeline=Pipeline("p", (self.stage,)), stage=self.stage, task_id="s")
        quiet: Any = SimpleNamespace(stop=lambda: None, wandb_id=None)
        self.operator._follow = lambda *_: quiet  # type: ignore[method-assign]
        self.operator.work = folder
        label = uuid4().hex
        self.operator.labels = self.operator.own_labels = containers.labels(label, "d", "r", "s", 1)
        self.folder = folder
        self.seen: dict[str, Any] = {}
        clone = folder / "clone/p"
        (clone / "data").mkdir(parents=True)
        (clone / "code.py").touch()
        (clone / "source.json").write_text(
            json.dumps({"partitions": {"2026-11-01": [{"path": "a", "url": "http://h/a"}]}})
        )
        (folder / "shown/data").mkdir(parents=True)

    def run(
        self, checkpoints: Checkpoints | None = None, shown: dict[str, Path] | None = None, image: str = ""
    ) -> Path:
        """Returns the output."""
        workspace = Workspace(self.folder / "clone", "p")
        sandbox = Sandbox.build(workspace, self.stage, self.folder / "box", self.folder / "live", shown)
        inbox = self.folder / "inbox"
        inbox.mkdir(exist_ok=True)
        opened: Any = {"images": {"s": image or image_name(ROOT)}, "inbox": str(inbox), "listing": "0" * 32}
        self._watch(self.operator.cli)
        self.operator._choose_device()
        self.operator._run_container(sandbox, opened, SimpleNamespace(), checkpoints)  # type: ignore[arg-type]
        sandbox.collect()
        return workspace.folder / "out.txt"

    def _watch(self, client: APIClient) -> None:
        """Keep what Docker says of the container."""
        start = client.start

        def watched(container: str) -> Any:
            self.seen.update(client.inspect_container(container))
            return start(container)

        client.start = watched  # type: ignore[method-assign]

    @property
    def left(self) -> list[str]:
        """Its containers that are still there."""
        return containers.find(self.operator.cli, self.operator.own_labels)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_VAR", str(tmp_path / "var"))


@pytest.fixture
def network() -> Iterator[str]:
    name = f"reprise-test-{uuid4().hex[:8]}"
    docker("network", "create", "--internal", name)
    yield name
    docker("network", "rm", name)


@pytest.mark.parametrize("kind", ["plain", "source", "gpus", "partitioned", "checkpoints", "memory", "network"])
def test_each_kind_of_stage_is_confined(tmp_path: Path, settings: None, network: str, kind: str) -> None:
    meta = {
        "source": Meta(network=INBOX),
        "gpus": Meta(gpus=1),  # on the CPU, if there is none
        "partitioned": Meta(partitioned=True),
        "checkpoints": Meta(checkpoints=True),
        "memory": Meta(memory="256m"),
        "network": Meta(network=network),
    }.get(kind, Meta())
    trial = Trial(tmp_path, meta)
    shown = {"data": tmp_path / "shown/data"} if kind == "partitioned" else None
    if kind == "checkpoints":
        with Checkpoints(tmp_path / "kept/key", LocalFileSystem(), str(tmp_path / "remote/key")) as checkpoints:
            written = trial.run(checkpoints)
    else:
        written = trial.run(shown=shown)
    assert written.read_text() == "written\n"
    assert trial.left == []
    host = trial.seen["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert host["Memory"] == (256 * 1024**2 if kind == "memory" else 0)
    assert host["NetworkMode"] == {"source": "bridge", "network": network}.get(kind, "none")
    writable = {mount["Destination"] for mount in trial.seen["Mounts"] if mount["RW"]}
    assert writable == {"/repo", "/live", *{"source": ["/scratch"], "checkpoints": ["/checkpoints"]}.get(kind, ())}


def host_config(**weaker: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["HostConfig"].update(weaker)


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["HostConfig"].pop(name) and None


def more_mounts(mount: Mount) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["HostConfig"]["Mounts"].append(mount)


def writable_deps(config: dict[str, Any]) -> None:
    for mount in config["HostConfig"]["Mounts"]:
        mount["ReadOnly"] = False


WEAKER: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "may write everywhere": (without("ReadonlyRootfs"), "ReadonlyRootfs: False instead of True"),
    "all capabilities": (without("CapDrop"), "CapDrop: None instead of"),
    "one capability": (host_config(CapAdd=["SYS_ADMIN"]), "CapAdd: .*SYS_ADMIN"),
    "privileged": (host_config(Privileged=True), "Privileged: True"),
    "new privileges": (without("SecurityOpt"), "SecurityOpt: None"),
    "no seccomp": (host_config(SecurityOpt=["no-new-privileges", "seccomp=unconfined"]), "SecurityOpt: .*unconfined"),
    "nothing hidden": (host_config(MaskedPaths=[], ReadonlyPaths=[]), "MaskedPaths: nothing is hidden"),
    "no init": (without("Init"), "Init: "),
    "any number of processes": (without("PidsLimit"), "PidsLimit: "),
    "memory": (host_config(Memory=2**30), "Memory: 1073741824 instead of 0"),
    "the host's network": (host_config(NetworkMode="host"), "network: 'host' instead of 'none'"),
    "a network": (host_config(NetworkMode="bridge"), "network: 'bridge' instead of 'none'"),
    "the host's processes": (host_config(PidMode="host"), "PidMode: 'host'"),
    "the host's memory": (host_config(IpcMode="host"), "IpcMode: 'host'"),
    "the host's name": (host_config(UTSMode="host"), "UTSMode: 'host'"),
    "a device": (
        host_config(Devices=[{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]),
        "Devices: ",
    ),
    "a bind": (host_config(Binds=["/etc:/host:ro"]), "Binds: .*mount /host: "),
    "a mount": (more_mounts(Mount("/host", "/etc", "bind", read_only=True)), "mount /host: "),
    "a volume": (more_mounts(Mount("/kept", None, "volume")), "mount /kept: "),
    "writable dependencies": (writable_deps, "mount /repo/p/code.py: "),
    "another tmpfs": (host_config(Tmpfs={"/tmp": "rw", "/repo/p": "rw"}), "Tmpfs: "),
    "a port": (
        host_config(PortBindings={"80/tcp": [{"HostPort": ""}]}),
        "PortBindings: ",
    ),
    "another user": (lambda config: config.update(User="12345"), "User: '12345' instead of '0:0'"),
}


@pytest.mark.parametrize("weaker", WEAKER)
def test_a_container_that_is_created_otherwise_never_starts_and_is_removed(
    tmp_path: Path, settings: None, weaker: str
) -> None:
    """A real container, made by Docker with what a new operator may ask for."""
    weaken, said = WEAKER[weaker]
    trial = Trial(tmp_path, Meta(), "touch /live/ran")
    client = trial.operator.cli
    create = client.create_container_from_config

    def weakly(config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        weaken(config)
        return create(config, *args, **kwargs)

    client.create_container_from_config = weakly  # type: ignore[method-assign]
    with pytest.raises(RepriseError, match=f"not confined as it must be, and was not started.*{said}"):
        trial.run()
    assert trial.seen["State"]["Status"] == "created"
    assert not (tmp_path / "live/ran").exists()
    assert trial.left == []


def test_what_the_operator_passes_does_not_count(tmp_path: Path, settings: None) -> None:
    """The arguments of a call win over those of a ``functools.partial``: not over ours."""
    trial = Trial(tmp_path, Meta())
    trial.operator.privileged = True
    trial.operator.cap_add = ["SYS_ADMIN"]
    trial.run()
    assert not trial.seen["HostConfig"]["Privileged"] and not trial.seen["HostConfig"]["CapAdd"]


def test_an_operator_that_starts_it_otherwise_gets_nothing_collected(
    tmp_path: Path, settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(tmp_path, Meta())
    client = trial.operator.cli

    def elsewhere(container: str) -> None:
        subprocess.run(["docker", "start", container], check=True, capture_output=True)

    monkeypatch.setattr(trial, "_watch", lambda _: None)
    client.start = elsewhere  # type: ignore[method-assign]
    with pytest.raises(RepriseError, match="a container that was not checked, or left it behind"):
        trial.run()
    assert trial.left == []


def test_a_container_that_is_left_behind_is_removed_and_nothing_collected(tmp_path: Path, settings: None) -> None:
    trial = Trial(tmp_path, Meta())
    trial.operator.auto_remove = "never"
    with pytest.raises(RepriseError, match="left it behind"):
        trial.run()
    assert trial.left == []


def test_what_a_stage_leaves_running_ends_with_it(tmp_path: Path, settings: None) -> None:
    """Outputs are looked through when nobody can exchange them any more."""
    command = f"{WRITE}; (while true; do date +%N > /live/alive; done) & setsid sleep 1000 & sleep 1; true"
    trial = Trial(tmp_path, Meta(), command)
    trial.run()
    alive = (tmp_path / "live/alive").stat().st_mtime_ns
    shutil.copytree(tmp_path / "live", tmp_path / "later")
    assert (tmp_path / "live/alive").stat().st_mtime_ns == alive
    assert trial.left == []


def test_a_volume_that_the_image_declares_is_its_own(tmp_path: Path, settings: None) -> None:
    """An unnamed one leads nowhere."""
    name = f"reprise-test-{uuid4().hex[:8]}"
    text = f"FROM {image_name(ROOT)}\nVOLUME /somewhere\n"
    classic = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=text, text=True, check=True, env=classic)
    try:
        trial = Trial(tmp_path, Meta())
        trial.run(image=name)
        assert [m["Destination"] for m in trial.seen["Mounts"] if m["Type"] == "volume"] == ["/somewhere"]
    finally:
        docker("rmi", name)
