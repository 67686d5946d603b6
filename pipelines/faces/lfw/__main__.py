"""Fill an inbox with Labeled Faces in the Wild: `python pipelines/faces/lfw --out FOLDER`."""

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # started as a folder: make the package importable
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from lfw.archive import ARCHIVES, obtain
from lfw.layout import Settings, fill
from synthetic.__main__ import Parser, day, number


def main() -> None:
    """Parse, fetch, lay out, count."""
    parser = Parser(
        prog="python pipelines/faces/lfw",
        description="Fill an inbox with Labeled Faces in the Wild (research use), DATE/PERSON/FILE.jpg. The archive is "
        "fetched once and verified; after a break it goes on where it was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("var/inbox/lfw"), help="folder of the inbox")
    parser.add_argument("--archives", type=Path, default=Path("var/archives"), help="where archives are kept")
    parser.add_argument("--variant", choices=sorted(ARCHIVES), default="funneled", help="how faces were aligned")
    parser.add_argument("--url", action="append", help="ask here for the archive instead; may be given again")
    parser.add_argument("--dates", type=number(int, 1, 520), default=4, help="arrival dates, a week apart")
    parser.add_argument("--first-date", type=day, default="2026-11-01", help="first arrival")
    parser.add_argument("--min-photos", type=number(int, 1, 530), default=2, help="leave out people with fewer")
    a = parser.parse_args()
    parser.refuse_future(a.first_date, a.dates)
    archive = obtain(ARCHIVES[a.variant], a.archives, a.url or ())
    people, photographs = fill(archive, a.out, Settings(a.variant, a.dates, a.min_photos, a.first_date))
    print(f"{a.out}: {photographs} photographs of {people} people; next: make run INBOX={a.out}")


if __name__ == "__main__":
    main()
