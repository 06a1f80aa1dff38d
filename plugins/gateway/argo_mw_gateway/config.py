"""The table ``[plugins.gateway]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import field, frozen, validators

from argo_mw.plugin import Duration, HostNames, Shown, is_loopback

_MEBIBYTE = 1 << 20


def _are_names(_: object, __: object, hosts: tuple[str, ...]) -> None:
    HostNames(hosts)


@frozen
class GatewayConfig:
    """The table ``[plugins.gateway]``.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        hosts: Host names under which clients reach it, besides this machine's and ``host``;
            requests under others are refused.
        clients: Who may ask: with ``keys``, clients with a key from ``argo-mw gateway keys``; with
            ``own``, also clients that bring a provider's key of their own, which is passed on; with
            ``anyone``, every program on this machine.
        keys: The file of the clients' keys; by default one in the state directory.
        tls_certificate: The certificate chain, in PEM; with it, connections are encrypted.
        tls_key: Its private key, in PEM.
        behind_proxy: Whether a proxy in front encrypts connections, so that the gateway may listen
            beyond this machine without TLS of its own.
        max_body_bytes: The largest body of a request, in bytes.
        max_buffered_bytes: The most memory for the bodies of all requests, in bytes.
        max_header_bytes: The largest request line with headers, in bytes.
        max_connections: The most connections; further ones are closed at once.
        header_timeout: Seconds that a client may take to send a request's headers.
        body_timeout: Seconds that a client may take to send each 64 KiB of a body, and its end.
        write_timeout: Seconds for which a client may read nothing of what is sent to it.
        idle_timeout: Seconds for which a connection stays open between two requests.
        drain_timeout: Seconds that pending answers may take to complete when the gateway stops.
    """

    host: Shown = "127.0.0.1"
    port: int = field(default=4280, validator=[validators.ge(0), validators.lt(65536)])
    hosts: tuple[Shown, ...] = field(default=(), validator=_are_names)
    clients: Literal["keys", "own", "anyone"] = "keys"
    keys: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    max_body_bytes: int = field(default=32 * _MEBIBYTE, validator=validators.gt(0))
    max_buffered_bytes: int = field(default=256 * _MEBIBYTE, validator=validators.gt(0))
    max_header_bytes: int = field(default=64 * 1024, validator=validators.gt(0))
    max_connections: int = field(default=1000, validator=validators.gt(0))
    header_timeout: Duration = field(default=10.0, validator=validators.gt(0))
    body_timeout: Duration = field(default=30.0, validator=validators.gt(0))
    write_timeout: Duration = field(default=60.0, validator=validators.gt(0))
    idle_timeout: Duration = field(default=75.0, validator=validators.gt(0))
    drain_timeout: Duration = field(default=60.0, validator=validators.gt(0))

    def __attrs_post_init__(self) -> None:
        """Check that the values fit each other.

        Raises:
            ValueError: Together they would let in more than was meant.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            msg = "tls_certificate and tls_key go together: give both, or neither"
            raise ValueError(msg)
        if not (is_loopback(self.host) or self.encrypted or self.behind_proxy):
            msg = (
                f"host {self.host!r} is reached from other machines, which would send their keys "
                "in the clear: give tls_certificate and tls_key, or say behind_proxy = true where "
                "a proxy in front encrypts"
            )
            raise ValueError(msg)
        if self.clients == "anyone" and (self.behind_proxy or not is_loopback(self.host)):
            msg = (
                "clients = 'anyone' is for programs of this machine alone: listen on 127.0.0.1 "
                "without a proxy in front, or let clients have keys"
            )
            raise ValueError(msg)

    @property
    def names(self) -> HostNames:
        """The names under which clients reach it."""
        return HostNames((self.host.partition("%")[0], *self.hosts))

    @property
    def encrypted(self) -> bool:
        """Whether connections are encrypted by the gateway itself."""
        return self.tls_certificate is not None
