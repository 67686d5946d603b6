"""A real browser on the stack's Airflow: Debian's chromium, headless."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

without_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="chromium is not installed: docker/apt-install chromium"
)

_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of headless chromium; slow machines get a minute for each expectation."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        browser.close()


def open_form(airflow: str, page: Page, dag_id: str) -> None:
    """The trigger form of a DAG on the Airflow at this address."""
    page.goto(f"{airflow}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("button", name="run", exact=True).click()
