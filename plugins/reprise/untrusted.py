"""The only way to what a container wrote: never through a link, never without a limit, never by a path twice.

While a container is alive it may exchange a file for a link between a check and the use. So nothing here is checked by
its path: a file is opened component by component without following links, checked by its descriptor, and read from it.
"""

import logging
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

log = logging.getLogger(__name__)

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Not blocking: opening a pipe would wait for its other end for ever."""
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY
_CHUNK = 1024**2
_BLOCK = 512
"""Bytes of one of ``st_blocks``, whatever the file system's own blocks are."""


class Refused(Exception):
    """What a container wrote is not what it may be; the message names it and says why."""


@dataclass(frozen=True)
class Limits:
    """How much of a folder is looked at."""

    entries: int
    depth: int
    path: int = 2048
    """Bytes of a path below the folder: half of what Linux takes, for the folder's own path stands before it."""


def kind(mode: int) -> str:
    """What an entry is, for a message."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(mode), "of no known kind")


def bytes_of(size: int) -> str:
    """A size for people: ``1.1 TB``."""
    value, units = float(size), ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.4g} {units[0]}"


def hollow(found: os.stat_result) -> int:
    """Bytes that a file claims and does not occupy: what a copy of it may take on top."""
    return max(0, found.st_size - found.st_blocks * _BLOCK)


@contextmanager
def folder_of(top: Path, name: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that holds ``name``, and the last part of it.

    :param top: our own folder, which no container can exchange; links above and at it are ours.
    :param name: relative to it.
    :raises Refused: a folder on the way is a link, or the name leads out.
    :raises FileNotFoundError: a folder on the way is missing.
    """
    *above, last = name.split("/")
    if any(part in ("", ".", "..") for part in (*above, last)):
        raise Refused(f"{name!r} leads elsewhere")
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for place, part in enumerate(above):
            there = _open(part, _FOLDER, here, "/".join(above[: place + 1]))
            os.close(here)
            here = there
        yield here, last
    finally:
        os.close(here)


@contextmanager
def opened(top: Path, name: str, most: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file of at most ``most`` bytes. A file that is still written may grow: see :func:`copy`.

    :param most: None if the caller itself reads no more than it wants.

    :raises Refused: it is something else, larger, or reached through a link.
    :raises FileNotFoundError: it is missing.
    """
    with folder_of(top, name) as (folder, last):
        handle = _open(last, _FILE, folder, name)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Refused(f"{name!r} is {kind(found.st_mode)}")
        _refuse_large(name, found.st_size, most)
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def copy(top: Path, name: str, target: Path, most: int) -> os.stat_result:
    """Copy a file, from its descriptor, to a new file of ours where no container can reach it.

    :returns: what the original was when it was opened.
    :raises Refused: as :func:`opened`, or it has grown beyond ``most`` bytes meanwhile.
    """
    with opened(top, name, most) as file:
        found, written = os.fstat(file.fileno()), 0
        ours = target.open("xb")
        try:
            with ours:
                while chunk := file.read(_CHUNK):
                    written += len(chunk)
                    _refuse_large(name, written, most)
                    ours.write(chunk)
        except BaseException:  # a full disk, too: half of it is worth nothing
            target.unlink(missing_ok=True)
            raise
    return found


def read(file: Path, most: int) -> bytes:
    """The content of a file in a folder of ours.

    :raises Refused: as :func:`copy`.
    """
    with opened(file.parent, file.name, most) as content:
        found = content.read(most + 1)
    _refuse_large(file.name, len(found), most)
    return found


def entries(top: Path, folder: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """What lies in a folder, no deeper: its path relative to ``top``, and what it is itself, in no order.

    :raises Refused: the folder is reached through a link.
    """
    with _folder(top, folder) as here, os.scandir(here) as found:
        for entry in found:
            try:
                yield f"{folder}/{entry.name}" if folder else entry.name, entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed meanwhile
                continue


def walk(top: Path, name: str, limits: Limits) -> Iterator[tuple[str, os.stat_result]]:
    """Everything at and below ``name``: its path relative to ``top``, and what it is itself.

    :param name: a file or folder; empty: what lies in ``top``.
    :raises Refused: a limit is reached, or a folder became a link meanwhile.
    :raises FileNotFoundError: there is no ``name``.
    """
    folders, count = [name], 0
    if name:
        with folder_of(top, name) as (above, last):
            found = os.stat(last, dir_fd=above, follow_symlinks=False)
        yield name, found
        if not stat.S_ISDIR(found.st_mode):
            return
    while folders:
        folder = folders.pop()
        for path, found in entries(top, folder):
            count += 1
            _refuse_many(path, count, path.removeprefix(name).strip("/").count("/") + 1, limits)
            yield path, found
            if stat.S_ISDIR(found.st_mode):
                folders.append(path)


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8, which Linux does not ask for."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)  # how Python spells other bytes


def is_line(name: str) -> bool:
    """Whether a name is text without control characters: what every remote, page and log can hold."""
    return is_text(name) and not any(unicodedata.category(letter) == "Cc" for letter in name)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, however deep it is nested and whatever modes it has; nothing if it is missing.

    ``shutil.rmtree`` opens one descriptor and calls itself once for each level. Here what lies in a subfolder is moved
    up before the subfolder is removed: one level is all there ever is.

    :raises OSError: something cannot be removed.
    """
    try:
        _make_writable(folder)
        top = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # a file, or a link: it goes, what it leads to stays
        folder.unlink(missing_ok=True)
        return
    try:
        while names := os.listdir(top):
            failed: list[OSError] = []
            for name in names:
                try:
                    _take_apart(name, top)
                except OSError as error:
                    failed.append(error)
            if len(failed) == len(names):
                raise failed[0]
    finally:
        os.close(top)
    folder.rmdir()


def try_remove(folder: Path) -> None:
    """As :func:`remove`; what cannot be removed is left, and a line in the log says so."""
    try:
        remove(folder)
    except OSError as error:
        log.warning("%s is left, it cannot be removed: %s", folder, error)


def _open(part: str, flags: int, folder: int, name: str) -> int:
    """Open one component; errors that say what it is become ours."""
    try:
        return os.open(part, flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:  # ELOOP and ENOTDIR: a link; ENXIO: a socket; EACCES; ENAMETOOLONG
        try:
            mode = os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode
        except OSError:
            mode = stat.S_IFREG
        plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        raise Refused(f"{name!r}: {error.strerror}" if plain else f"{name!r} is {kind(mode)}") from error


@contextmanager
def _folder(top: Path, name: str) -> Iterator[int]:
    """A descriptor of a folder below ``top``, or of ``top`` itself."""
    if not name:
        handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    else:
        with folder_of(top, name) as (above, last):
            handle = _open(last, _FOLDER, above, name)
    try:
        yield handle
    finally:
        os.close(handle)


def _refuse_large(name: str, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise Refused(f"{name!r} has {bytes_of(size)}, more than {bytes_of(most)}")


def _refuse_many(path: str, count: int, depth: int, limits: Limits) -> None:
    if count > limits.entries:
        raise Refused(f"there are more than {limits.entries:,} files and folders")
    if depth > limits.depth:
        raise Refused(f"{path[:60] + '…'!r} is nested more than {limits.depth} levels deep")
    if len(os.fsencode(path)) > limits.path:
        raise Refused(f"the path {path[:60] + '…'!r} is longer than {limits.path} bytes")


def _unlinked(name: str, folder: int) -> bool:
    """Whether an entry is gone now; False: a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:  # EISDIR; EPERM elsewhere than on Linux
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        return False
    return True


def _take_apart(name: str, folder: int) -> None:
    """Remove an entry; what a subfolder holds is moved beside it first, unless it can be removed at once."""
    if _unlinked(name, folder):
        return
    _make_writable(name, folder)
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for lower in os.listdir(inner):
            if not _unlinked(lower, inner):
                _make_writable(lower, inner)
                os.rename(lower, f".{uuid4().hex}", src_dir_fd=inner, dst_dir_fd=folder)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def _make_writable(name: str | Path, folder: int | None = None) -> None:
    """Let a folder's owner read and write it; by its descriptor, or a link put in its place would lead to another."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)
