"""Which addresses a list of URLs may lead to: public ones, checked where the connection is made.

A list may come from anyone, and a name may lead anywhere: to this network's machines, or to the address at which a
cloud hands out its keys (169.254.169.254). Names are looked up once, and what was checked is what is connected to, so
a name that changes in between gains nothing. Every redirect makes its own connection, and is checked like the first.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from facelib.inbox import Missing

_NAT64 = ip_network("64:ff9b::/96")
_UNICAST = ip_network("2000::/3")
"""All of IPv6 that is given out to the public."""
_NOT_PUBLIC = (
    *map(ip_network, ("192.0.0.0/24", "192.88.99.0/24")),  # IETF's own, 6to4's relays
    *map(ip_network, ("2001::/23", "2002::/16", "3fff::/20")),  # IETF's own and Teredo, 6to4, examples
)
"""What some versions of Python call global, and what wraps an IPv4 address in a way that is out of use."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, by itself or as the IPv4 address that it stands for."""
    ip = ip_address(address)
    if ip.version == 6:
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in _UNICAST:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _NOT_PUBLIC))


def public_addresses(host: str, port: int | None) -> list[str]:
    """The public addresses of a host, as the resolver orders them.

    Raises Missing (private_address) if it has none, and OSError or UnicodeError if the name cannot be looked up.
    """
    found = [str(info[4][0]) for info in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)]
    if public := [address for address in dict.fromkeys(found) if is_public(address)]:
        return public
    raise Missing(
        "private_address",
        f"{host} is at {found[0]}, not on the public internet; download.allow_private=true takes it all the same",
    )


class _Public(HTTPConnection):
    """A connection to a host's public addresses alone."""

    def _new_conn(self) -> socket.socket:
        name = self.host
        try:
            addresses = public_addresses(name, self.port)
        except socket.gaierror as error:
            raise NameResolutionError(name, self, error) from error
        try:
            for self.host in addresses[:-1]:
                with suppress(NewConnectionError, ConnectTimeoutError):
                    return super()._new_conn()
            self.host = addresses[-1]
            return super()._new_conn()
        finally:
            self.host = name  # which the certificate and the headers go by


class _PublicTls(HTTPSConnection, _Public):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Public


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTls


class PublicOnly(HTTPAdapter):
    """Lets a session reach public addresses alone; raises Missing (private_address) for others.

    A proxy that the environment names is trusted, and looks names up itself: a name that cannot be looked up here is
    left to it, one that leads to no public address from here is refused.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        url = str(request.url)
        if select_proxy(url, proxies):  # type: ignore[no-untyped-call]
            with suppress(OSError):
                public_addresses(urlsplit(url).hostname or "", None)
        return super().send(request, stream, timeout, verify, cert, proxies)
