"""Fill an inbox with synthetic photographs: `python pipelines/faces/synthetic --out FOLDER`."""

import argparse
import datetime
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

if __package__ in (None, ""):  # started as a folder: make the package importable
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from synthetic.inbox import Settings, fill


class Parser(argparse.ArgumentParser):
    """A command line that `make` calls with variables: what is wrong is named as those are, PEOPLE for --people."""

    def error(self, message: str) -> NoReturn:
        named = re.sub("argument --([a-z-]+)", lambda m: f"{m[1].upper().replace('-', '_')} (--{m[1]})", message)
        self.exit(2, f"error: {named}\n  next: .venv/bin/{self.prog} --help\n")

    def refuse_future(self, first: str, dates: int) -> None:
        """End where the last of so many arrivals, a week apart, is yet to come."""
        latest = datetime.date.today() - datetime.timedelta(weeks=dates - 1)
        if datetime.date.fromisoformat(first) > latest:
            self.error(
                f"argument --dates: a week apart from {first} on, the last of {dates} is yet to come; give fewer, or"
                f" FIRST_DATE (--first-date) as {latest} or before"
            )


def number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers in a range, for argparse."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'integer' if kind is int else 'number'}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not in {low}..{high}")
        return value

    return parse


def day(text: str) -> str:
    """A date, for argparse."""
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2026-11-01") from None


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        prog="python pipelines/faces/synthetic",
        description="Fill an inbox with photographs of invented people, DATE/PERSON/FILE.jpg. Same settings, same "
        "bytes. Files that are there stay; run it again to go on after a break, or with more --people, or with "
        "--dates and --photos both greater in proportion, to let an inbox grow.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("var/inbox/synthetic"),
        help="folder of the inbox",
    )
    parser.add_argument("--people", type=number(int, 1, 10000), default=60, help="how many persons")
    parser.add_argument(
        "--photos",
        type=number(int, 1, 9999),
        default=20,
        help="photographs of each, over all dates",
    )
    parser.add_argument("--dates", type=number(int, 1, 520), default=4, help="arrival dates, a week apart")
    parser.add_argument("--seed", type=number(int, 0, 2**31), default=1, help="another seed, other people")
    parser.add_argument(
        "--difficulty",
        type=number(float, 0, 1),
        default=0.5,
        help="how far pose, light and camera vary, 0..1",
    )
    parser.add_argument("--first-date", type=day, default="2026-11-01", help="first arrival")
    parser.add_argument(
        "--workers",
        type=number(int, 1, 256),
        default=2,
        help="processes; bytes do not depend on it",
    )
    a = parser.parse_args()
    if a.dates > a.photos:
        parser.error(
            f"argument --dates: {a.photos} photographs of a person arrive on {a.photos} dates at most, not {a.dates}"
        )
    parser.refuse_future(a.first_date, a.dates)
    return a


def main() -> None:
    """Parse, fill, count."""
    a = arguments()
    settings = Settings(a.people, a.photos, a.dates, a.seed, a.difficulty, a.first_date)
    counts = fill(a.out, settings, a.workers)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(f"{a.out}: {sum(counts.values())} files of {a.people + 1} people on {a.dates} dates ({kinds})")


if __name__ == "__main__":
    main()
