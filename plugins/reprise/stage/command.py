"""A stage's commands as its container runs them: each in a shell of its own, as DVC does (``dvc/stage/run.py``)."""

from collections.abc import Sequence

SHELL = "/bin/sh"
"""Always. DVC takes the user's ``SHELL``; in the stage image, where ``make repro`` runs it, there is none: this one."""

_SCRIPT = f"""while [ $# -gt 1 ]; do
    printf '> %s\\n' "$1"
    {SHELL} -c "$1" || exit
    shift
done
exec {SHELL} -c "$1"
"""
"""The last replaces this shell, so that signals reach the stage itself."""


def container_command(commands: Sequence[str]) -> list[str]:
    """The command of a container that runs ``commands`` one after the other and stops at the first that fails."""
    if len(commands) == 1:
        return [SHELL, "-c", commands[0]]
    return [SHELL, "-c", _SCRIPT, SHELL, *(commands or [":"])]
