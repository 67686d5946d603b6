"""Errors a user can act on: each names the thing, the reason and the next command.

RepriseError
├── DockerUnavailable   the Docker daemon cannot be reached
├── CommandFailed       a git command failed
├── TryAgain            the DVC remote or the git origin refused; it may not the next time
├── ServerAway          the tracking server does not answer; what it was to be told is kept
└── BadInput            parameters, revision, inbox, dvc.yaml or settings are wrong
"""


class RepriseError(Exception):
    """A problem and what to do about it."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}\n  next: {fix}")
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[type["RepriseError"], tuple[str, str]]:
        return type(self), (self.problem, self.fix)


class DockerUnavailable(RepriseError):
    """The Docker daemon cannot be reached."""


class CommandFailed(RepriseError):
    """A git command failed; the problem holds the command, its exit code and its output."""


class ServerAway(RepriseError):
    """The tracking server does not answer, or has trouble of its own."""


class BadInput(RepriseError):
    """Parameters, revision, inbox, dvc.yaml or settings are wrong."""


class TryAgain(RepriseError):
    """The DVC remote, the git origin, or the way to one, refused. The one problem of ours that another try may not meet."""
