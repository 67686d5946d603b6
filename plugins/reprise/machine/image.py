"""The stage image: its name is a hash of what it is made from, so a checkout knows its image without asking Docker.

``python -m reprise.machine.image`` builds it where it is missing; ``--repro`` also the image with git, dvc and pytest on top.
"""

import argparse
import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprise.errors import DockerUnavailable, RepriseError
from reprise.machine import buildhost
from reprise.settings import ROOT

if TYPE_CHECKING:
    from docker import APIClient

STAGES_FROM = ("docker/Dockerfile", "docker/base.sh", "docker/stages.lock")
REPRO_FROM = (*STAGES_FROM, "docker/repro.Dockerfile", "docker/repro.lock")
SPACE_NEEDED = 15 * 10**9
"""Bytes on Docker's disk during the first build: the packages (6.7 GB) twice, once in the stage that installs them."""
PULL_TIMEOUT = 20
"""Seconds of silence after which a registry counts as not there."""
_FORGET_TRIES = 20
Log = Callable[[str], None]


def image_tag(tree: Path, made_from: Iterable[str] = STAGES_FROM) -> str:
    """Twelve hex digits over the files that the image is made from, as they are in the checkout ``tree``.

    Raises:
        RepriseError: a file is missing (the checkout is no Reprise repository).
    """
    digest = hashlib.sha256()
    for name in made_from:
        content = _recipe(tree, name)
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def _recipe(tree: Path, name: str) -> bytes:
    """A file that an image is made from, with the line ends of the commit: a user's checkout may have others."""
    try:
        return (tree / name).read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise RepriseError(
            f"cannot name the stage image: {tree / name}: {error.strerror}", f"git -C {tree} status"
        ) from None


def image_name(tree: Path) -> str:
    """Name of the image that the stages of this checkout run in."""
    return f"reprise-stages:{image_tag(tree)}"


def repro_name(tree: Path) -> str:
    """Name of the stage image with git, dvc and pytest on top."""
    return f"reprise-repro:{image_tag(tree, REPRO_FROM)}"


def connect(timeout: float = 600) -> "APIClient":
    """A client of the Docker daemon.

    Raises:
        DockerUnavailable: no daemon answers, or it refuses this user.
    """
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    from docker import APIClient

    try:
        return APIClient(version="auto", timeout=timeout, **kwargs_from_env())
    except DockerException as error:
        refused = "PermissionError" in str(error) or "Permission denied" in str(error)
        fix = (
            f"sudo usermod -aG docker {os.environ.get('USER', '$USER')}, then log in again"
            if refused
            else "docker/ensure-engine"
        )
        raise DockerUnavailable(f"the Docker daemon does not answer: {error}", fix) from None


def image_exists(name: str) -> bool:
    """Whether the daemon has an image of this name."""
    return image_id(name) != ""


def image_id(name: str) -> str:
    """The image's id (``sha256:…``), empty where the daemon has no image of this name."""
    from docker.errors import ImageNotFound

    try:
        return str(connect(timeout=30).inspect_image(name)["Id"])
    except ImageNotFound:
        return ""


def build(tree: Path, log: Log = print) -> str:
    """Build the stage image of a checkout, unless it exists; returns its name.

    Raises:
        DockerUnavailable: no daemon answers.
        RepriseError: too little disk, no base image to be had, or a build step failed.
    """
    name = image_name(tree)
    with _unless_exists(name, log) as client:
        if client:
            _check_space(client)
            args = {"BASE": _base(client, tree, log), "BUILD": image_tag(tree)}
            _build(client, tree, name, "docker/Dockerfile", ["docker/stages.lock"], args, log)
    return name


def build_repro(tree: Path, log: Log = print) -> str:
    """Build the image with git, dvc and pytest, and the stage image below it, unless they exist; returns its name."""
    stages, name = build(tree, log), repro_name(tree)
    with _unless_exists(name, log) as client:
        if client:
            args = {"STAGES": stages, "BUILD": image_tag(tree, REPRO_FROM)}
            _build(client, tree, name, "docker/repro.Dockerfile", ["docker/repro.lock"], args, log)
    return name


@contextmanager
def _unless_exists(name: str, log: Log) -> Iterator["APIClient | None"]:
    """A client to build the image with, None where it exists. One process of this machine builds it, others wait."""
    if image_exists(name):
        yield None
        return
    file = Path(tempfile.gettempdir()) / f"{name.replace(':', '-')}.lock"
    try:
        lock = os.open(file, os.O_RDONLY | os.O_CREAT, 0o644)
    except PermissionError:  # another user's, and /tmp is sticky: it can be locked all the same
        lock = os.open(file, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"waiting for another process that builds {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield None if image_exists(name) else connect()
    finally:
        os.close(lock)


def _check_space(client: "APIClient") -> None:
    folder = Path(client.info()["DockerRootDir"])
    while not os.access(folder, os.R_OK) and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < SPACE_NEEDED:
        problem = (
            f"building the stage image takes {SPACE_NEEDED / 1e9:.0f} GB below {folder}, {free / 1e9:.1f} GB are free"
        )
        raise RepriseError(problem, "docker system prune, or free some space, then: make image")


def _base(client: "APIClient", tree: Path, log: Log) -> str:
    """The base image: the pinned one where the daemon has it or can pull it, else one made from Debian packages."""
    pinned = _pinned_base(tree)
    if image_exists(pinned) or _pull(pinned, log):
        return pinned
    name = f"reprise-base:{image_tag(tree, ['docker/base.sh'])}"
    if not image_exists(name):
        log(f"no registry gave {pinned.partition('@')[0]}; making a base image from Debian packages")
        _import_base(client, tree, name, log)
    return name


def _pinned_base(tree: Path) -> str:
    found = re.search(r"^ARG BASE=(\S+)$", _recipe(tree, "docker/Dockerfile").decode(), re.MULTILINE)
    if not found:
        raise RepriseError("docker/Dockerfile names no base image (ARG BASE=...)", "git diff docker/Dockerfile")
    return found.group(1)


def _pull(name: str, log: Log) -> bool:
    """Whether the image could be pulled; any failure means that no registry answers."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        for event in connect(timeout=PULL_TIMEOUT).pull(name, stream=True, decode=True):
            if "error" in event:
                return False
    except (APIError, RequestException):
        return False
    log(f"pulled {name}")
    return True


def _import_base(client: "APIClient", tree: Path, name: str, log: Log) -> None:
    _ensure_mmdebstrap(tree, log)
    apt = buildhost.apt_settings()
    with tempfile.TemporaryDirectory(prefix="reprise-base-") as folder:
        # mmdebstrap enters its own user namespace where it is not root, and has to reach this folder from there.
        os.chmod(folder, 0o755)
        tar = Path(folder) / "base.tar"
        made = subprocess.run(
            ["sh", "-c", _recipe(tree, "docker/base.sh").decode(), "base.sh", str(tar)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **{key: apt[key] for key in apt if key.startswith("DEBIAN_")}},
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            log(made.stderr.rstrip())
            raise RepriseError(
                f"mmdebstrap made no base image (exit code {made.returncode})", "docker/base.sh base.tar"
            )
        repository, _, tag = name.partition(":")
        client.import_image_from_file(str(tar), repository=repository, tag=tag)


def _ensure_mmdebstrap(tree: Path, log: Log) -> None:
    # An ordinary user makes a root file system in a user namespace, which takes newuidmap.
    if shutil.which("mmdebstrap") and (os.geteuid() == 0 or shutil.which("newuidmap")):
        return
    log("installing mmdebstrap")
    packages = ["mmdebstrap", "debian-archive-keyring", "uidmap"]
    installer = [str(tree.resolve() / "docker/apt-install"), *packages]
    if subprocess.run(installer, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False).returncode:
        problem = "no registry gives a base image, and mmdebstrap, which makes one, could not be installed"
        raise RepriseError(problem, f"sudo apt-get install -y {' '.join(packages)}")


def _build(
    client: "APIClient", tree: Path, name: str, dockerfile: str, files: list[str], args: Mapping[str, str], log: Log
) -> None:
    """Send the context and follow the daemon's classic builder."""
    start = time.monotonic()
    log(f"building {name}")
    options = {"tag": name, "rm": True, "forcerm": True, "decode": True}
    options["buildargs"] = {**buildhost.proxies(), **buildhost.apt_settings(), **args}
    try:
        with _context(tree, dockerfile, files) as context:
            _follow(client.build(fileobj=context, custom_context=True, **options), name, log)
    except BaseException as error:
        traceback.clear_frames(
            error.__traceback__
        )  # what holds the connection: a daemon that has lost it stops building
        raise
    finally:
        _forget(client, args["BUILD"], log)
    log(f"built {name} in {time.monotonic() - start:.0f} s")


def _forget(client: "APIClient", build: str, log: Log) -> None:
    """Remove what only a build needed, however it ended: the packages a second time, and the index's credentials."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    label = f"reprise.build={build}"
    try:
        for _ in range(_FORGET_TRIES):
            client.prune_images({"label": label, "dangling": True})
            if not client.images(all=True, filters={"label": label}):
                return
            time.sleep(0.5)  # a build that was interrupted is about to let go of its last layer
        problem = "they are in use"
    except (DockerException, RequestException) as error:
        problem = str(error)
    log(f"layers of the build are left: {problem}\n  next: docker image prune --force --filter label={label}")


def _context(tree: Path, dockerfile: str, files: list[str]) -> io.BytesIO:
    """The build context as a tar: the Dockerfile, the named files, and what the build needs of this host."""
    certificates = buildhost.certificates(tree / "docker/certs")
    content = {
        "Dockerfile": _recipe(tree, dockerfile),
        **{Path(file).name: _recipe(tree, file) for file in files},
        **{f"host/certs/{file}": pem for file, pem in certificates.items()},
        "host/certs/host.pem": b"".join(certificates.values()),
        "host/index.sh": buildhost.as_shell(buildhost.index_settings()).encode(),
    }
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for file in sorted(content):
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(content[file]), 0o644
            tar.addfile(entry, io.BytesIO(content[file]))
    context.seek(0)
    return context


def _follow(events: Iterable[Mapping[str, Any]], name: str, log: Log) -> None:
    """Log each step's first line; keep the output of the running one for the error."""
    start, tail = time.monotonic(), deque([""], maxlen=25)
    for event in events:
        if "error" in event:
            log("".join(tail).rstrip())
            raise RepriseError(
                f"building {name} failed: {event['error'].strip()}", "mend the cause named above, then: make image"
            )
        text = event.get("stream", "")
        tail.append(text)
        if text.startswith("Step "):
            tail.clear()
            log(
                f"  {time.monotonic() - start:4.0f} s  {text.strip() if len(text) < 130 else text.strip()[:126] + ' ...'}"
            )


def main() -> int:
    """Build what is missing, telling about it on stderr, and print the image's name."""
    parser = argparse.ArgumentParser(prog="python -m reprise.machine.image", description=__doc__)
    parser.add_argument("--repro", action="store_true", help="the image with git, dvc and pytest on top as well")
    make = build_repro if parser.parse_args().repro else build
    try:
        print(make(ROOT, lambda line: print(line, file=sys.stderr, flush=True)))
    except RepriseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
