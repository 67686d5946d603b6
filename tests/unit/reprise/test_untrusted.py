"""What a container wrote is read without following a link, within limits, also while it exchanges what is read."""

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from reprise import untrusted
from reprise.untrusted import Limits, Refused

SECRET = b"of the host"
MOST = 1000
FEW = Limits(entries=100, depth=8)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no container may see."""
    (tmp_path / "host").mkdir()
    file = tmp_path / "host/secret"
    file.write_bytes(SECRET)
    return file


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder that a container writes to."""
    folder = tmp_path / "written"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_bytes(b"its own")
    return folder


def test_a_file_is_copied(top: Path, tmp_path: Path) -> None:
    found = untrusted.copy(top, "sub/file", tmp_path / "ours", MOST)
    assert (tmp_path / "ours").read_bytes() == b"its own"
    assert found.st_size == 7


def put(trick: str, place: Path, secret: Path) -> None:
    """Put something odd at ``place``."""
    if trick == "link":
        place.symlink_to(secret)
    elif trick == "link nowhere":
        place.symlink_to("/nowhere")
    elif trick == "pipe":
        os.mkfifo(place)
    elif trick == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    elif trick == "device":
        os.mknod(place, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: endless
    elif trick == "folder":
        place.mkdir()
    elif trick == "sparse":
        place.touch()
        os.truncate(place, 10**12)


TRICKS = {
    "link": "a symbolic link",
    "link nowhere": "a symbolic link",
    "pipe": "a named pipe",
    "socket": "a socket",
    "device": "a device",
    "folder": "a folder",
    "sparse": "has 1 TB, more than 1 kB",
}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("use", ["copy", "read"])
def test_what_is_no_regular_file_is_refused_and_named(
    top: Path, secret: Path, tmp_path: Path, trick: str, use: str
) -> None:
    if trick == "device" and os.getuid():
        pytest.skip("only root makes devices")
    put(trick, top / "odd", secret)
    with pytest.raises(Refused, match=f"'odd'.*{TRICKS[trick]}"):
        if use == "copy":
            untrusted.copy(top, "odd", tmp_path / "ours", MOST)
        else:
            untrusted.read(top / "odd", MOST)
    assert not (tmp_path / "ours").exists()


def test_a_link_on_the_way_is_refused(top: Path, secret: Path, tmp_path: Path) -> None:
    (top / "way").symlink_to(secret.parent)
    with pytest.raises(Refused, match="'way' is a symbolic link"):
        untrusted.copy(top, "way/secret", tmp_path / "ours", MOST)
    with pytest.raises(Refused, match="'way' is a symbolic link"):
        list(untrusted.walk(top, "way/secret", FEW))


@pytest.mark.parametrize("name", ["../host/secret", "sub/../../host/secret", "/etc/passwd", "sub//file", ".", ""])
def test_a_name_that_leads_out_is_refused(top: Path, secret: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="leads elsewhere"):
        untrusted.copy(top, name, tmp_path / "ours", MOST)


def test_what_is_missing_is_missing(top: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        untrusted.copy(top, "none/at/all", tmp_path / "ours", MOST)


def test_a_file_that_grows_while_it_is_copied_is_cut_off_by_the_limit(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = untrusted._refuse_large

    def grow(name: str, size: int, most: int) -> None:
        check(name, size, most)
        with (top / "grows").open("ab") as file:
            file.write(b"more")

    (top / "grows").write_bytes(bytes(MOST - 1))
    monkeypatch.setattr(untrusted, "_refuse_large", grow)
    with pytest.raises(Refused, match="more than 1 kB"):
        untrusted.copy(top, "grows", tmp_path / "ours", MOST)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_never_a_byte_of_the_secret_however_often_the_file_is_exchanged(
    top: Path, secret: Path, tmp_path: Path, swapped: str
) -> None:
    """The file itself becomes a link to the secret and back, or the folder above it one to the secret's folder."""
    (top / "sub/secret").write_bytes(b"its own")
    (top / "link").symlink_to(secret if swapped == "file" else secret.parent)
    place = top / ("sub/secret" if swapped == "file" else "sub")
    exchange(top / "link", place)  # once here, so that both states are possible
    ended, exchanges = threading.Event(), 0

    def swap() -> None:
        nonlocal exchanges
        while not ended.is_set():
            exchange(top / "link", place)
            exchanges += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    refused = copied = 0
    until = time.monotonic() + 60
    try:
        while (refused + copied < 3000 or not refused or not copied) and time.monotonic() < until:
            ours = tmp_path / "ours"
            try:
                untrusted.copy(top, "sub/secret", ours, MOST)
                copied += 1
                assert ours.read_bytes() == b"its own"
                ours.unlink()
            except Refused:
                refused += 1
                assert not ours.exists()
            listed = {path for path, _ in quiet_walk(top)}
            assert "sub/secret/secret" not in listed
    finally:
        ended.set()
        swapper.join()
    assert refused and copied and exchanges


def exchange(one: Path, other: Path) -> None:
    """Swap two names at once, as renameat2 does: there is no moment without either."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0, os.strerror(ctypes.get_errno())


def quiet_walk(top: Path) -> list[tuple[str, os.stat_result]]:
    try:
        return list(untrusted.walk(top, "", FEW))
    except Refused:
        return []


def test_walking_lists_what_is_there_and_enters_no_link(top: Path, secret: Path) -> None:
    (top / "away").symlink_to(secret.parent)
    os.mkfifo(top / "sub/pipe")
    found = {path: untrusted.kind(info.st_mode) for path, info in untrusted.walk(top, "", FEW)}
    assert found == {
        "away": "a symbolic link",
        "sub": "a folder",
        "sub/file": "a file",
        "sub/pipe": "a named pipe",
    }
    assert [path for path, _ in untrusted.walk(top, "sub/file", FEW)] == ["sub/file"]


def test_walking_is_limited(top: Path) -> None:
    for number in range(101):
        (top / str(number)).touch()
    with pytest.raises(Refused, match="more than 100 files and folders"):
        list(untrusted.walk(top, "", FEW))
    deep = top / "sub/1/2/3/4/5/6/7/8/9"
    deep.mkdir(parents=True)
    with pytest.raises(Refused, match="nested more than 8 levels"):
        list(untrusted.walk(top, "sub", Limits(entries=1000, depth=8)))
    long = top / "sub" / ("x" * 255) / ("y" * 255)
    long.mkdir(parents=True)
    with pytest.raises(Refused, match="longer than 300 bytes"):
        list(untrusted.walk(top, "sub", Limits(entries=1000, depth=20, path=300)))


@pytest.mark.parametrize(
    ("name", "fits"),
    [("a b.png", True), ("é　日", True), ("a\nb", False), ("a\x1b[31m", False), (os.fsdecode(b"\xff"), False)],
)
def test_names_with_control_characters_or_no_utf_8_are_told_from_others(name: str, fits: bool) -> None:
    assert untrusted.is_line(name) == fits


def test_a_hollow_file_is_told_from_a_full_one(top: Path) -> None:
    put("sparse", top / "odd", top)
    (top / "full").write_bytes(os.urandom(100_000))
    assert untrusted.hollow((top / "odd").stat()) == 10**12
    assert untrusted.hollow((top / "full").stat()) == 0


def test_a_tree_is_removed_however_deep_it_is_and_whatever_modes_it_has(top: Path, secret: Path) -> None:
    here = os.open(top / "sub", os.O_RDONLY)
    for _ in range(1500):  # deeper than Python recurses, than descriptors go and than a path may be long
        os.mkdir("d" * 200, dir_fd=here)
        lower = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = lower
    os.symlink(secret.parent, "out", dir_fd=here)
    os.close(here)
    (top / "away").symlink_to(secret.parent)
    (top / "locked/inner").mkdir(parents=True)
    (top / "locked/inner/file").touch()
    os.chmod(top / "locked/inner", 0)
    os.chmod(top / "locked", 0)
    os.chmod(top, 0)
    untrusted.remove(top)
    assert not top.exists()
    assert secret.read_bytes() == SECRET
    untrusted.remove(top)  # nothing there: fine


def test_a_user_that_is_not_root_removes_it_too(tmp_path: Path) -> None:
    """Modes stop everybody but root."""
    if os.getuid():
        pytest.skip("the other tests run as such a user already")
    code = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from pathlib import Path; from reprise import untrusted\n"
        "top = Path(sys.argv[1]) / 't'; (top / 'a/b/c').mkdir(parents=True); (top / 'a/b/c/f').touch()\n"
        "[os.chmod(p, 0) for p in (top / 'a/b/c', top / 'a/b', top / 'a', top)]\n"
        "untrusted.remove(top)\n"
    )
    os.chmod(tmp_path, 0o777)
    for folder in tmp_path.parents:
        if folder.name.startswith(("pytest-", "popen-")):  # pytest's own, closed to others
            folder.chmod(0o755)
    plugins = Path(untrusted.__file__).parents[1]
    subprocess.run(["python3", "-c", code, str(tmp_path)], env={"PYTHONPATH": str(plugins)}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_a_folders_place_is_removed_and_not_followed(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "link").symlink_to(secret.parent)
    untrusted.remove(tmp_path / "link")
    assert not os.path.lexists(tmp_path / "link")
    assert secret.exists()


def test_what_cannot_be_removed_keeps_nothing_else(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.unlink

    def stubborn(name: str, *, dir_fd: int | None = None) -> None:
        if name == "stays":
            raise PermissionError(name)
        whole(name, dir_fd=dir_fd)

    (top / "stays").touch()
    monkeypatch.setattr(os, "unlink", stubborn)
    with pytest.raises(PermissionError):
        untrusted.remove(top)
    assert [path.name for path in top.iterdir()] == ["stays"]
