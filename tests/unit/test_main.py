"""The command line: what it prints where something is wrong."""

import sys

import pytest

from reprise import __main__ as command_line
from reprise.errors import RepriseError


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reprise", *args])
    return command_line.main()


def test_an_error_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in it are no markup."""
    said = "no output ['a', 'b'], [red]use[/nothing] /data/[old]"

    def fail(*_: object) -> None:
        raise RepriseError(said, "dvc exp show")

    monkeypatch.setattr(command_line.services, "down", fail)
    assert run(monkeypatch, "down") == 1
    assert capsys.readouterr().out == f"error: {said}\n  next: dvc exp show\n"


def test_a_date_that_is_none_is_an_error_and_no_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line.git, "uncommitted", lambda _: [])
    assert run(monkeypatch, "run", "--as-of", "yesterday") == 1
    assert "'yesterday' is no date" in capsys.readouterr().out
