"""Names of parameters, metrics and tags as MLflow allows them. What it allows stays as it is."""

import hashlib
import posixpath
import re

_MOST = 250
_HASH = 8
_ALLOWED = re.compile(r"[\w.\- :/]+", re.ASCII)
_OTHERS = re.compile(r"[^\w.\- :/]", re.ASCII)


def allowed(name: str) -> str:
    """``name``, or one that MLflow takes in its place: ``lr(max)`` becomes ``lr_max_-1f0a2b3c``.

    Other characters become ``_``, and the start of the name's SHA-256 keeps two names from becoming one.
    """
    if _ALLOWED.fullmatch(name) and len(name) <= _MOST and _is_path(name):
        return name
    plain = "/".join(part.lstrip(".") or "_" for part in _OTHERS.sub("_", name).split("/"))
    return f"{plain[: _MOST - _HASH - 1]}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:_HASH]}"


def _is_path(name: str) -> bool:
    """MLflow may store a name as a path, so it refuses what leads elsewhere: ``a//b``, ``../a``."""
    return posixpath.normpath(name) == name and not name.startswith(("..", "/")) and name != "."
