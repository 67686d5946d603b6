"""The image's name follows from what it is made from, and a build learns what it needs of this host and no more."""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from reprise.errors import DockerUnavailable, RepriseError
from reprise.machine import buildhost, image

ROOT = Path(__file__).resolve().parents[3]
PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    return tmp_path


def test_a_copy_of_the_checkout_has_the_same_image(checkout: Path) -> None:
    assert image.image_name(checkout) == image.image_name(ROOT)
    assert re.fullmatch(r"reprise-stages:[0-9a-f]{12}", image.image_name(ROOT))


@pytest.mark.parametrize("file", image.STAGES_FROM)
def test_each_file_that_makes_the_image_changes_its_name(checkout: Path, file: str) -> None:
    before = image.image_name(checkout), image.repro_name(checkout)
    (checkout / file).write_bytes((checkout / file).read_bytes() + b"\n")
    after = image.image_name(checkout), image.repro_name(checkout)
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("file", ["docker/repro.lock", "docker/repro.Dockerfile"])
def test_another_dvc_is_not_another_environment_for_the_stages(checkout: Path, file: str) -> None:
    before = image.image_name(checkout), image.repro_name(checkout)
    (checkout / file).write_bytes(b"other")
    assert image.image_name(checkout) == before[0]
    assert image.repro_name(checkout) != before[1]


def test_a_folder_without_the_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepriseError, match=r"docker/Dockerfile: No such file[^\n]*\n  next: git"):
        image.image_name(tmp_path)


def test_a_daemon_that_does_not_answer_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(DockerUnavailable, match="does not answer") as caught:
        image.image_exists("reprise-stages:none")
    assert caught.value.fix == "docker/ensure-engine"


def test_the_context_holds_the_recipe_and_this_hosts_settings(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@packages.example/simple")
    (checkout / "docker/certs/own.crt").write_text(PEM.format("b3du"))
    with tarfile.open(fileobj=image._context(checkout, "docker/Dockerfile", ["docker/stages.lock"])) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    assert files["Dockerfile"] == (checkout / "docker/Dockerfile").read_bytes()
    assert files["stages.lock"] == (checkout / "docker/stages.lock").read_bytes()
    assert b"b3du" in files["host/certs/host.pem"]
    assert [name for name, content in files.items() if b"secret" in content] == ["host/index.sh"]


def test_the_image_never_copies_the_index_settings() -> None:
    """They may hold a password: they belong into build stages that are thrown away."""
    for dockerfile in ("docker/Dockerfile", "docker/repro.Dockerfile"):
        kept = re.split(r"^FROM ", (ROOT / dockerfile).read_text(), flags=re.MULTILINE)[-1]
        assert "index.sh" not in kept
        assert "COPY . " not in kept


@pytest.mark.parametrize(
    ("env", "files", "expected"),
    [
        ({}, {}, {}),
        (
            {"PIP_INDEX_URL": "https://a/simple", "PIP_EXTRA_INDEX_URL": "file:///opt/x https://b/simple"},
            {},
            {
                "PIP_INDEX_URL": "https://a/simple",
                "UV_DEFAULT_INDEX": "https://a/simple",
                "PIP_EXTRA_INDEX_URL": "https://b/simple",
                "UV_INDEX": "https://b/simple",
            },
        ),
        (
            {},
            {".config/pip/pip.conf": "[global]\nindex-url = https://c/simple\ntrusted-host = c\n"},
            {
                "PIP_INDEX_URL": "https://c/simple",
                "UV_DEFAULT_INDEX": "https://c/simple",
                "PIP_TRUSTED_HOST": "c",
                "UV_INSECURE_HOST": "c",
            },
        ),
        (
            {"UV_DEFAULT_INDEX": "https://d/simple"},
            {".config/uv/uv.toml": '[[index]]\nurl = "https://e/simple"\n'},
            {
                "PIP_INDEX_URL": "https://d/simple",
                "UV_DEFAULT_INDEX": "https://d/simple",
                "UV_INDEX": "https://e/simple",
            },
        ),
    ],
)
def test_the_package_index_of_the_host(
    tmp_path: Path, env: dict[str, str], files: dict[str, str], expected: dict[str, str]
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    assert buildhost.index_settings(env, home=tmp_path, etc=tmp_path / "etc") == expected


def test_settings_survive_the_shell() -> None:
    settings = {"A": "it's $HOME; `true`", "B": "two words"}
    script = f'{buildhost.as_shell(settings)}printf \'%s|%s\' "$A" "$B"'
    assert subprocess.check_output(["sh", "-c", script], text=True) == "|".join(settings.values())


def test_every_certificate_comes_once(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_text(PEM.format("YQ==") + PEM.format("Yg=="))
    (tmp_path / "again.crt").write_text(PEM.format("YQ=="))
    found = buildhost.certificates(tmp_path, env={"SSL_CERT_FILE": str(tmp_path / "missing.pem")})
    assert sum(pem == PEM.format("YQ==").encode() for pem in found.values()) == 1
    assert sum(pem == PEM.format("Yg==").encode() for pem in found.values()) == 1


def test_proxies_come_in_both_spellings() -> None:
    assert buildhost.proxies({"HTTPS_PROXY": "http://p:3128"}) == {
        "https_proxy": "http://p:3128",
        "HTTPS_PROXY": "http://p:3128",
    }


def test_a_checkout_with_other_line_ends_has_the_same_image(checkout: Path) -> None:
    for file in image.REPRO_FROM:
        content = (checkout / file).read_bytes()
        (checkout / file).write_bytes(content.replace(b"\n", b"\r\n"))
    assert image.image_name(checkout) == image.image_name(ROOT)
    assert image.repro_name(checkout) == image.repro_name(ROOT)
    with tarfile.open(fileobj=image._context(checkout, "docker/Dockerfile", ["docker/stages.lock"])) as tar:
        assert b"\r" not in tar.extractfile("Dockerfile").read() + tar.extractfile("stages.lock").read()  # type: ignore[union-attr]
    assert "\r" not in image._pinned_base(checkout)


@pytest.mark.parametrize("file", ["docker/Dockerfile", "docker/repro.Dockerfile"])
def test_the_label_of_the_build_comes_before_the_index_settings(file: str) -> None:
    """What comes after it is removed with it, if the build fails as well."""
    lines = (ROOT / file).read_text().splitlines()
    copied = [number for number, line in enumerate(lines) if re.match("COPY .*index.sh", line)]
    labelled = [number for number, line in enumerate(lines) if line.startswith("LABEL reprise.build=$BUILD")]
    stage = max(number for number, line in enumerate(lines[: copied[0]]) if line.startswith("FROM "))
    assert stage < labelled[0] < copied[0]
