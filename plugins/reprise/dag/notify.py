"""Tell people how a run ended: success, failure, refused promotion. Any of Airflow's notifiers will do.

A template of theirs finds ``news``: ``what`` happened, a ``subject`` and a ``text`` of a few lines.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import requests
from airflow.sdk import BaseNotifier

from reprise.messages import Done, Judged, Recorded
from reprise.pipeline.stages import Pipeline
from reprise.run import numbers
from reprise.settings import load as load_settings

log = logging.getLogger(__name__)


def mail(to: str | Sequence[str]) -> BaseNotifier:
    """A mail by Airflow's connection ``smtp_default`` (``AIRFLOW_CONN_SMTP_DEFAULT=smtp://…``)."""
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return SmtpNotifier(to=to, subject="{{ news.subject }}", html_content="{{ news.html }}")


class Webhook(BaseNotifier):
    """POSTs ``{"text": …, "what": …}``, which Slack, Mattermost and their like show.

    :param url: where to; a template, so that a secret can come from ``{{ conn.chat.password }}``.
    """

    template_fields = ("url", "text", "what")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.what = "{{ news.what }}"
        self.text = "{{ news.subject }}\n{{ news.text }}"

    def notify(self, context: Any) -> None:
        """Send it; Airflow logs an error and goes on."""
        requests.post(self.url, json={"text": self.text, "what": self.what}, timeout=10).raise_for_status()


def default() -> list[BaseNotifier]:
    """Whom the settings name (``REPRISE_MAIL_TO``), for DAGs that name nobody."""
    to = load_settings().mail_to
    return [mail([part.strip() for part in to.split(",")])] if to else []


def tell(notifiers: Sequence[BaseNotifier], context: Any, what: str, dag_id: str, run_id: str, text: str) -> None:
    """Hand the news to each notifier; one that fails does not keep the others from telling."""
    page = f"{load_settings().airflow}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
    text = f"{text}\n{page}"
    news = {
        "what": what,
        "subject": f"{dag_id}: {what}: {run_id}",
        "text": text,
        "html": "<br>\n".join(escape(line) for line in text.splitlines()),
    }
    for notifier in notifiers:
        # A notifier renders its fields in place: the copy leaves the next event's templates alone.
        try:
            copy.copy(notifier)({**context, "news": news})
        except Exception:  # a mail server that is away must not fail a run
            log.exception("%s could not tell of %s", type(notifier).__name__, news["subject"])


def on_failure(notifiers: Sequence[BaseNotifier]) -> list[Callable[[Any], None]]:
    """For a DAG's ``on_failure_callback``."""

    def failed(context: Any) -> None:
        run = context["dag_run"]
        tell(notifiers, context, "failure", run.dag_id, run.run_id, str(context.get("reason") or "a task failed"))

    return [failed] if notifiers else []


def ended(pipeline: Pipeline, recorded: Recorded, judged: Judged | None, ran: Sequence[str]) -> tuple[str, str] | None:
    """What there is to tell of a run that ended well, and a text; None where nothing was new.

    :param ran: stages that were not cached.
    """
    if not ran:
        return None
    what = judged["verdict"] if judged and judged["verdict"] in ("promoted", "refused") else "success"
    lines = [f"{judged['verdict']}: {judged['reason']}"] if judged else []
    lines += [f"commit {recorded['commit']}", f"ran: {', '.join(ran)}"]
    return what, "\n".join([*lines, *numbers.lines(pipeline, numbers.from_json(recorded["metrics"]), "in the commit")])


def tell_ended(
    notifiers: Sequence[BaseNotifier],
    context: Any,
    pipeline: Pipeline,
    recorded: Recorded,
    judged: Judged | None,
    done: Mapping[str, Done],
) -> None:
    """Tell of a run that ended well; said by its last task, which knows all of it."""
    news = ended(pipeline, recorded, judged, [name for name, stage in done.items() if stage["verdict"] == "ran"])
    if news:
        tell(notifiers, context, news[0], context["ti"].dag_id, context["ti"].run_id, news[1])
