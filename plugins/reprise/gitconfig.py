"""What of a user's own git configuration counts: identity and the way to the origin. All else is unknown to our git.

So no hook, filter, template, signature or habit of a user's reaches our clones, our refs, or what we read of git.
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from reprise.errors import CommandFailed

_KEPT = re.compile(
    r"((user|author|committer)\.(name|email)"
    r"|(credential|http|ssh|protocol|safe)\..+"
    r"|core\.(sshcommand|askpass|gitproxy))(\n.*)?"
    # Addresses for other addresses; a rule for paths would lead our own folders elsewhere.
    r"|url\..+\.(pushinsteadof|insteadof)\n.*:.*",
    re.DOTALL,
)
"""Entries (a key, a newline, its value) that our git takes over."""
_KEPT_VARIABLES = re.compile(
    r"GIT_((AUTHOR|COMMITTER)_(NAME|EMAIL)|ASKPASS|SSH.*|SSL_.*|HTTP_.*|PROXY_.*|CURL_.*|TRACE.*"
    r"|ALLOW_PROTOCOL|PROTOCOL_FROM_USER|EXEC_PATH)"
)
"""Variables of git's that count. A hook or an outer git exports others, which lead to another repository."""
_CONFIG_VARIABLES = re.compile(r"GIT_CONFIG_.+")
"""Variables that configure the user's own git."""

_FRESH_SECONDS = 5

# What is read from other places besides, or what the repository that we work in says: it may be the user's.
_OVERRIDDEN = {
    "color.ui": "false",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.excludesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",  # names as they are, not in octal
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "fetch.prune": "false",
    "fetch.pruneTags": "false",
    "gc.auto": "0",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "user.useConfigOnly": "true",  # a name guessed from the machine's is nobody's
}
OVERRIDES = tuple(part for key, value in _OVERRIDDEN.items() for part in ("-c", f"{key}={value}"))
"""Options of every git command of ours."""


def users_environment() -> dict[str, str]:
    """The environment in which git is the user's own, in whatever repository it is told to work."""
    return _environment(_KEPT_VARIABLES, _CONFIG_VARIABLES)


@contextmanager
def our_environment(like: Path) -> Iterator[dict[str, str]]:
    """The environment in which git knows nothing of the user but what counts.

    :param like: the repository whose own configuration counts as well: a deploy key is often there.
    """
    known = _kept_config(like, tuple(users_environment().items()), int(time.monotonic() / _FRESH_SECONDS))
    # A file: what git starts at an origin on this machine reads none of the options, but this.
    with tempfile.NamedTemporaryFile(prefix="reprise-", suffix=".gitconfig") as config:
        config.write(known)
        config.flush()
        yield {
            **_environment(_KEPT_VARIABLES),
            "GIT_CONFIG_GLOBAL": config.name,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
            "LANGUAGE": "",
        }


def _environment(*known: re.Pattern[str]) -> dict[str, str]:
    """The environment, and of git's variables those that are known."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or any(pattern.fullmatch(name) for pattern in known)
    }


@lru_cache(maxsize=1)
def _kept_config(like: Path, environment: tuple[tuple[str, str], ...], moment: int) -> bytes:
    """What counts of the user's configuration, as a file of git's.

    :param moment: read again after a while: a user corrects the configuration, and services run for weeks.
    :raises CommandFailed: where git cannot read the configuration.
    """
    command = ["git", "-C", str(like), "config", "--list", "--includes", "--null"]
    done = subprocess.run(command, capture_output=True, env=dict(environment), check=False)
    if done.returncode:
        raise CommandFailed(
            f"git reads no configuration: {done.stderr.decode(errors='replace').strip()}", "git config -l"
        )
    entries = done.stdout.decode(errors="surrogateescape").split("\0")
    text = "".join(_written(entry) for entry in entries if _KEPT.fullmatch(entry))
    return text.encode(errors="surrogateescape")


def _written(entry: str) -> str:
    """``section.subsection.name``, newline, value, as a configuration file has it."""
    key, has_value, value = entry.partition("\n")
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    header = f'{section} "{_escaped(subsection)}"' if subsection else section
    value = _escaped(value).replace("\n", "\\n").replace("\t", "\\t")
    return f'[{header}]\n{name} = "{value}"\n' if has_value else f"[{header}]\n{name}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
