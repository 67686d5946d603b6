"""Published weights: from the network, checked, converted; and a training that starts from them."""

import hashlib
import importlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the stages' environment is needed: docker/stages.lock")

NAME = "20180402-114759-vggface2.pt"
OTHER = "20180408-102900-casia-webface.pt"
KNOWN = "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the published one, classifier and all, of random weights."""
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("published") / NAME
    torch.save(InceptionResnetV1(classify=True, num_classes=7).state_dict(), path)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["weights.py"])
    return tmp_path


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(published.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/{NAME}"
        serving.shutdown()


def weights(place: Path, **params: str) -> Path:
    (place / "params.yaml").write_text(json.dumps({"weights": params}))
    importlib.import_module("weights").main()
    return place / "models" / "pretrained.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_none_asked_for_leaves_an_empty_file(place: Path) -> None:
    assert weights(place, pretrained="none").read_bytes() == b""


def test_a_file_of_other_content_than_asked_for_is_refused(
    place: Path, published: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = weights(place, pretrained="casia-webface", url=server).read_bytes()
    printed = capsys.readouterr().out
    assert f"sha256 {sha256(published)}\n" in printed and "no checksum of it is known" in printed
    assert weights(place, pretrained="vggface2", url=server, sha256=sha256(published)).read_bytes() == first
    assert "no checksum" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=rf"{server} has sha256 .*, weights.sha256 is 0{{64}}"):
        weights(place, pretrained="vggface2", url=server, sha256="0" * 64)


def test_vggface2_is_what_everybody_knows_it_by(
    place: Path, published: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file that we have made can have the known checksum."""
    refused = f"has sha256 {sha256(published)}, {NAME} has {KNOWN}: .* set weights.sha256"
    with pytest.raises(SystemExit, match=f"{server} {refused}"):
        weights(place, pretrained="vggface2", url=server)
    stage = importlib.import_module("weights")
    monkeypatch.setitem(stage.FILES, "vggface2", stage.Published(NAME, sha256(published)))
    assert weights(place, pretrained="vggface2", url=server).stat().st_size > 1_000_000


def test_a_download_is_bounded_and_leaves_nothing(place: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("weights"), "MAX_BYTES", 1000)
    with pytest.raises(SystemExit, match="cannot be fetched: larger than the allowed 1,000 bytes"):
        weights(place, pretrained="vggface2", url=server)
    assert sorted(path.name for path in place.iterdir()) == ["models", "params.yaml"]
    assert list((place / "models").iterdir()) == []


def test_what_is_fetched_is_the_published_network_without_its_classifier(
    place: Path, published: Path, server: str
) -> None:
    from safetensors.torch import load_file

    kept = load_file(weights(place, pretrained="vggface2", url=server, sha256=sha256(published)))
    given = torch.load(published, weights_only=True)
    assert set(given) - set(kept) == {"logits.weight", "logits.bias"}
    assert all(torch.equal(value, given[name]) for name, value in kept.items())
    with pytest.raises(
        SystemExit, match=rf"cannot be fetched: HTTP 404; name a place in weights.url that has a copy of {NAME}"
    ):
        weights(place, pretrained="vggface2", url=server.replace(NAME, "other.pt"))


def test_a_file_that_would_run_code_is_refused(place: Path, published: Path, server: str) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('the trap ran')",))

    for content in (pickle.dumps(Trap()), b"<html>not found</html>", b""):
        (published.parent / OTHER).write_bytes(content)
        with pytest.raises(SystemExit, match="weights: the file is no torch file of weights"):
            weights(place, pretrained="casia-webface", url=server.replace(NAME, OTHER))


def test_a_network_starts_from_them_whatever_its_embedding(published: Path) -> None:
    from facelib.backbones import Description, build, load_pretrained

    given = torch.load(io.BytesIO(published.read_bytes()), weights_only=True)
    whole = build(Description("inception_resnet_v1", 512, 112, 1, 160))
    load_pretrained(whole, given)
    assert all(torch.equal(value, given[name]) for name, value in whole.state_dict().items())
    short = build(Description("inception_resnet_v1", 64, 112, 1, 160))
    load_pretrained(short, given)
    assert torch.equal(short.state_dict()["block8.conv2d.weight"], given["block8.conv2d.weight"])
    assert short.state_dict()["last_linear.weight"].shape[0] == 64
    with pytest.raises(SystemExit, match="lack 0.weight .* set train.backbone to inception_resnet_v1"):
        load_pretrained(build(Description("small", 128, 112, 1, 64)), given)
