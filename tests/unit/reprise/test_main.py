"""The command line: what it prints where something is wrong."""

import sys
from pathlib import Path

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
    assert "AS_OF=yesterday is no date\n  next: AS_OF=2026-11-22" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (
            "2026-11-22",
            "2026-10-26",
            "FROM=2026-11-22 is after TO=2026-10-26\n  next: make backfill FROM=2026-10-26 TO=2026-11-22\n",
        ),
        ("2026-11-22", "", "TO is not given\n  next: TO=2026-11-22"),
        ("soon", "2026-11-22", "FROM=soon is no date"),
    ],
)
def test_a_backfills_dates_are_checked_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: str, last: str, said: str
) -> None:
    assert run(monkeypatch, "backfill", "--from", first, "--to", last) == 1
    assert capsys.readouterr().out.startswith(f"error: {said}")


def test_uncommitted_files_come_with_the_command_that_commits_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line.git, "uncommitted", lambda _: ["new file.py", "train.py"])
    assert run(monkeypatch, "run") == 1
    assert "\n  next: git add 'new file.py' train.py && git commit" in capsys.readouterr().out


def test_a_service_that_is_none_is_answered_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("REPRISE_VAR", str(tmp_path))
    assert run(monkeypatch, "logs", "schedular") == 1
    assert "nothing was started yet\n  next: make up\n" in capsys.readouterr().out
    (tmp_path / "logs").mkdir()
    for name in ("api-server", "scheduler"):
        (tmp_path / f"logs/{name}.log").touch()
    assert run(monkeypatch, "logs", "schedular") == 1
    assert (
        "there is no service schedular; there are api-server, scheduler\n  next: make logs SERVICE=scheduler\n"
        in capsys.readouterr().out
    )
