"""What a person sees, in a real browser: the DAG, the trigger form, the way to MLflow."""

import shutil
from collections.abc import Iterator

import pytest
from conftest import Stack
from playwright.sync_api import Page, expect, sync_playwright

pytestmark = pytest.mark.skipif(
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
def page(stack: Stack) -> Iterator[Page]:
    """A page of headless chromium; slow machines get a minute for each expectation."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        browser.close()


def test_run_page_shows_the_stages(stack: Stack, page: Page) -> None:
    run = stack.run()
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/words/runs/{run.run_id}")
    for name in ("open", "take", "count", "rank", "record"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_role("link", name="MLflow").first.click()
    expect(page.frame_locator("iframe").get_by_role("link", name="in MLflow")).to_be_visible()


def test_trigger_form_offers_every_parameter(stack: Stack, page: Page) -> None:
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/words")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("button", name="run", exact=True).click()
    for about in ("Branch, tag or commit to run.", "with or without date folders", "Run every stage again."):
        expect(page.get_by_text(about).first).to_be_visible()
    page.get_by_role("button", name="rank", exact=True).click()
    expect(page.get_by_text("How many words.").first).to_be_visible()
