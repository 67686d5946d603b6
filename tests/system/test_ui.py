"""What a person sees, in a real browser: the DAG, the trigger form, the page of a run, the ways out of it."""

import yaml
from browser import open_form, without_chromium
from conftest import Run, Stack
from playwright.sync_api import Page, expect

pytestmark = without_chromium


def test_run_page_shows_the_stages(stack: Stack, page: Page, first: Run) -> None:
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/words/runs/{first.run_id}")
    for name in ("open", "take", "count", "rank", "record"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_role("link", name="MLflow").first.click()
    with page.context.expect_page() as opened:
        page.frame_locator("iframe").get_by_role("link", name="in MLflow").click()
    expect(opened.value.get_by_text(first.run_id).first).to_be_visible()


def test_our_page_inside_airflow_shows_the_whole_run(stack: Stack, page: Page, first: Run) -> None:
    page.goto(f"{stack.env['REPRISE_AIRFLOW']}/dags/words/runs/{first.run_id}")
    page.get_by_role("link", name="Reprise").first.click()
    ours = page.frame_locator("iframe[title=Reprise]")
    expect(ours.get_by_role("heading", name=first.run_id)).to_be_visible()
    for stage, verdict in first.verdicts.items():
        expect(ours.locator("tr", has=ours.get_by_role("link", name=stage, exact=True)).first).to_contain_text(verdict)
    for shown in (
        "texts",
        "results/top.csv",
        first.stages["rank"]["entry"]["outs"][0]["md5"][:12],
        "image of all stages",
    ):
        expect(ours.get_by_text(shown).first).to_be_visible()
    report = ours.frame_locator("iframe[title=report]")
    expect(report.get_by_role("heading", name="Most frequent words")).to_be_visible()
    expect(report.get_by_text("no script ran")).to_be_visible()
    assert report.locator("img").evaluate("picture => picture.naturalWidth") == 1
    with page.context.expect_page() as opened:
        ours.get_by_role("link", name=f"record {first.record['commit'][:12]}").click()
    expect(opened.value.get_by_text(f"commit {first.record['commit']}")).to_be_visible()
    ours.get_by_role("link", name="log").first.click()
    page.wait_for_url("**/tasks/open**")


def test_trigger_form_offers_every_parameter(stack: Stack, page: Page) -> None:
    open_form(stack.env["REPRISE_AIRFLOW"], page, "words")
    for about in ("Branch, tag or commit to run.", "Folder, object-store URL or list", "Run every stage again."):
        expect(page.get_by_text(about).first).to_be_visible()
    page.get_by_role("button", name="rank", exact=True).click()
    expect(page.get_by_text("How many words. Integer, 1 to 1000.").first).to_be_visible()


def test_the_form_refuses_a_wrong_value_and_the_run_uses_right_ones(stack: Stack, page: Page, first: Run) -> None:
    before = stack.airflow.call("GET", "dags/words/dagRuns")["total_entries"]
    open_form(stack.env["REPRISE_AIRFLOW"], page, "words")
    page.locator("#element_inbox").fill(str(stack.root / "var/inbox/texts"))
    page.get_by_role("button", name="rank", exact=True).click()
    top = page.locator("[name='element_rank.top']")
    top.fill("0")
    top.press("Tab")
    expect(top).to_have_value("0")  # it is not changed to a value that nobody asked for
    submit = page.get_by_role("dialog").get_by_role("button", name="Trigger")
    submit.click()
    expect(page.get_by_text("0 is less than the minimum of 1").first).to_be_visible()
    top.fill("2.5")
    submit.press("Enter")  # the message lies over the button
    expect(page.get_by_text("2.5 is not").first).to_be_visible()
    assert stack.airflow.call("GET", "dags/words/dagRuns")["total_entries"] == before
    top.fill("1")
    submit.press("Enter")  # the message lies over the button
    expect(page.get_by_role("dialog")).to_be_hidden()
    newest = stack.airflow.call("GET", "dags/words/dagRuns", params={"order_by": "-run_after", "limit": 1})
    [triggered] = newest["dag_runs"]
    assert stack.wait_for_end("words", triggered["dag_run_id"]) == "success"
    opened = stack.airflow.xcom("words", triggered["dag_run_id"], "open")
    assert yaml.safe_load(opened["params"]) == {"count": {"lower": True}, "rank": {"top": 1, "seconds": 0}}
    ranked = stack.airflow.xcom("words", triggered["dag_run_id"], "rank")
    assert ranked["entry"]["params"]["params.yaml"] == {"rank": {"top": 1, "seconds": 0}}
