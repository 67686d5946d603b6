"""The GPU request reaches Docker: a container is created with it and looked at; no GPU is needed for that."""

from typing import Any

import pytest
from conftest import ROOT

from reprise.machine.image import image_name
from reprise.pipeline.stages import Meta, Pipeline, Stage


def created(monkeypatch: pytest.MonkeyPatch, meta: Meta, runtimes: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The device that the operator chose, and what Docker says of the container it created for the stage."""
    from reprise.stage.operator import StageOperator

    stage = Stage("train", ("true",), meta=meta)
    operator = StageOperator(pipeline=Pipeline("pipelines/p", (stage,)), stage=stage, task_id="train")
    operator.image = image_name(ROOT)
    client, looked = operator.cli, dict[str, Any]()
    real = client.info()
    monkeypatch.setattr(client, "info", lambda: {**real, "Runtimes": runtimes})

    def look(container: str) -> None:
        looked.update(client.inspect_container(container))
        raise InterruptedError("seen")

    monkeypatch.setattr(client, "start", look)
    device = operator._choose_device()
    with pytest.raises(InterruptedError):
        operator._run_image()
    return device, looked["HostConfig"]


def test_a_stage_gets_the_gpus_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device, host = created(monkeypatch, Meta(gpus=2), {"runc": {}, "nvidia": {}})
    assert device == "2 gpu"
    [request] = host["DeviceRequests"]
    assert (request["Count"], request["Capabilities"]) == (2, [["gpu"]])
    assert (host["NetworkMode"], host["CapDrop"], host["ReadonlyRootfs"]) == ("none", ["ALL"], True)


@pytest.mark.parametrize(("gpus", "runtimes"), [(1, {"runc": {}}), (0, {"nvidia": {}})])
def test_no_request_where_none_is_asked_for_or_the_host_has_none(
    monkeypatch: pytest.MonkeyPatch, gpus: int, runtimes: dict[str, Any]
) -> None:
    device, host = created(monkeypatch, Meta(gpus=gpus), runtimes)
    assert device == "cpu"
    assert not host["DeviceRequests"]
