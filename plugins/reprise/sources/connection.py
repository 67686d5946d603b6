"""The one connection of an inbox: address and credentials of the object store it lies in.

They come from the file that ``REPRISE_CONNECTION`` names, from fsspec's own configuration (``~/.config/fsspec``,
``FSSPEC_S3_…``) or from where the AWS tools find them (environment, profile, role). A source stage gets them as a file, in fsspec's own
format, so that they are in no record, no log and no environment that ``docker inspect`` shows.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from reprise.errors import BadInput
from reprise.settings import Settings
from reprise.sources.stores import is_local

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}


def options(settings: Settings, inbox: str) -> dict[str, Any]:
    """fsspec's storage options of an inbox; empty for one of this machine.

    :raises BadInput: where the named connection is missing or says nothing of such an inbox.
    """
    if is_local(inbox):
        return {}
    from fsspec.config import conf

    protocol = inbox.split("://", 1)[0]
    if settings.connection:
        return _named(Path(settings.connection), protocol)
    given = dict(conf.get(protocol, {}))
    return {**_aws(keys=not {"key", "anon"} & given.keys()), **given} if protocol == "s3" else given


def _aws(keys: bool) -> dict[str, Any]:
    """What the AWS tools would use: environment, profile, role of the machine. Keys only where asked for."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session()
        own = session.get_scoped_config()
        found = session.get_credentials() if keys else None
        frozen = found.get_frozen_credentials() if found else None
        region = session.get_config_variable("region")
    except BotoCoreError as error:
        raise BadInput(f"the AWS credentials cannot be read: {error}", "aws sts get-caller-identity") from error
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or own.get("endpoint_url")
    given = {"endpoint_url": endpoint, "client_kwargs": {"region_name": region} if region else None}
    if frozen:
        given |= {"key": frozen.access_key, "secret": frozen.secret_key, "token": frozen.token}
    return {name: value for name, value in given.items() if value}


def _named(file: Path, protocol: str) -> dict[str, Any]:
    example = f'write it: {{"{protocol}": {{"endpoint_url": "…", "key": "…", "secret": "…"}}}}, readable by you alone'
    try:
        given = json.loads(file.read_text())
        if not isinstance(given[protocol], dict):
            raise ValueError(f"{protocol} is no object")
        return dict(given[protocol])
    except OSError as error:
        raise BadInput(f"the connection {file} cannot be read: {error.strerror}", example) from error
    except (ValueError, TypeError) as error:
        raise BadInput(f"the connection {file} is no JSON object", example) from error
    except KeyError as error:
        raise BadInput(f"the connection {file} says nothing of {protocol}", example) from error


def refuse_loopback(settings: Settings, inbox: str) -> None:
    """Stages run in containers, where this machine's loopback is their own.

    :raises BadInput: where the store's address is one.
    """
    given = options(settings, inbox)
    address = given.get("endpoint_url") or given.get("client_kwargs", {}).get("endpoint_url") or ""
    _refuse_loopback(f"the store of {inbox}", str(address))


def refuse_loopback_urls(urls: Iterable[str]) -> None:
    """As :func:`refuse_loopback`, of what a list names on the web."""
    for url in urls:
        _refuse_loopback("a file of the list", url)


def _refuse_loopback(what: str, address: str) -> None:
    if urlparse(address).hostname in _LOOPBACK:
        raise BadInput(
            f"{what} is at {address}: the stage that reads it runs in a container, which does not reach that",
            "give an address that containers reach, such as this machine's on Docker's bridge: ip address show docker0",
        )


def write(inbox: str, given: dict[str, Any], folder: Path) -> None:
    """Write a connection as the only file of ``folder``, readable by its owner alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "connection.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({inbox.split("://", 1)[0]: given}))
