"""Take the pictures of docs/ again, of a recorded run of the faces pipeline, with a real browser.

``PYTHONPATH=plugins .venv/bin/python docs/pictures.py RUN``, with the services up (``make demo``).
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from reprise.run import records
from reprise.settings import ROOT, load

DOCS = Path(__file__).parent


def main() -> None:
    """Write airflow.png, run-page.png, form.png, report.png and mlflow.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="id of a recorded run, such as faces-20261126-003435")
    record = records.find(str(ROOT), parser.parse_args().run)
    settings = load()
    run = f"{settings.airflow}/dags/{record.about['dag']}/runs/{record.run_id}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        _take(page, f"{run}/plugin/reprise", "run-page.png", "iframe[title=Reprise]")
        _graph(page, run)
        _form(page, f"{settings.airflow}/dags/{record.about['dag']}")
        _take(page, (settings.var / "runs" / record.run_id / "results/report.html").as_uri(), "report.png", "img")
        _mlflow(page, f"{settings.mlflow}/#/runs/{record.about['mlflow_run']}")


def _take(page: Page, url: str, name: str, awaited: str) -> None:
    page.goto(url)
    page.locator(awaited).first.wait_for()
    _shoot(page, name)


def _graph(page: Page, run: str) -> None:
    page.goto(run)
    page.get_by_role("button", name="Show Graph").or_(page.get_by_label("Show Graph")).first.click()
    page.get_by_label("Collapse Details Panel").first.click()
    page.get_by_text("evaluate", exact=True).first.wait_for()
    _shoot(page, "airflow.png")


def _mlflow(page: Page, run: str) -> None:
    page.goto(run)
    page.get_by_role("button", name="Close").click()  # the assistant's panel
    _shoot(page, "mlflow.png")


def _form(page: Page, dag: str) -> None:
    page.goto(dag)
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("button", name="run", exact=True).click()
    page.get_by_role("button", name="train", exact=True).click()
    _shoot(page, "form.png")


def _shoot(page: Page, name: str) -> None:
    """Once everything stands still: animations, graphs that find their place, pictures that load."""
    page.wait_for_timeout(5000)  # pages that ask again and again are never idle
    page.screenshot(path=DOCS / name)
    print(DOCS / name)


if __name__ == "__main__":
    main()
