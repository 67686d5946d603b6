"""Three tiers of tests: each test carries the marker of the folder it lies in."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
TIERS = ("unit", "pipeline", "system")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its tier."""
    for item in items:
        if HERE in item.path.parents and (tier := item.path.relative_to(HERE).parts[0]) in TIERS:
            item.add_marker(tier)
