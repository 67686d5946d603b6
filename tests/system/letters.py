"""A mail server that keeps what it is given."""

import email
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller


class Letters:
    """Listens on a port of this machine from the start."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, str]] = []
        """Subject and text of each mail."""
        self.connection = f"smtp://127.0.0.1:{port}/?disable_ssl=true&disable_tls=true&from_email=reprise%40example.org"
        """Airflow's connection to it."""
        self._server = Controller(self, hostname="127.0.0.1", port=port)
        self._server.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd calls it for each mail."""
        message = email.message_from_bytes(envelope.content, policy=default)
        body = message.get_body(("html", "plain"))
        self.got.append((message["subject"], body.get_content() if body else ""))
        return "250 OK"

    def about(self, subject: str) -> list[str]:
        """Texts of the mails with this subject."""
        return [text for told, text in self.got if told == subject]

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop()
