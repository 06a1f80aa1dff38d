"""Where a scheduler is, and how it may be reached: Dask runs whatever code a connection sends it.

So anyone who can connect to a scheduler or a worker controls it. On loopback, protection is left to
the machine; beyond it, both ends of each connection present a certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import frozen

from argo_mw.plugin import ConfigError, is_loopback
from argo_mw_fleet.config import FleetConfig

if TYPE_CHECKING:
    from distributed.security import Security

PORT: Final = 8786
"""The port of a scheduler that names none, which is Dask's own choice."""

LOOPBACK: Final = "127.0.0.1"


@frozen
class Reach:
    """A scheduler's address, and what connections to it have to show.

    Attributes:
        address: As Dask writes it, ``tls://HOST:PORT`` or ``tcp://HOST:PORT``.
        security: For Dask's constructors.
        is_local: Whether it is reached from this machine only.
    """

    address: str
    security: Security
    is_local: bool


def reach(url: str, config: FleetConfig) -> Reach:
    """Return how the scheduler at *url*, ``dask://HOST:PORT``, is reached.

    Raises:
        ConfigError: It is not such a URL, or beyond this machine without certificates.
    """
    host, port = _parts(url)
    is_local = is_loopback(host)
    if not is_local and not config.encrypted:
        msg = (
            f"{url} is beyond this machine, and Dask runs whatever it is sent: give tls_ca, "
            "tls_certificate and tls_key in [plugins.fleet], from an authority of the fleet's own"
        )
        raise ConfigError(msg)
    scheme = "tls" if config.encrypted else "tcp"
    where = f"[{host}]" if ":" in host else host
    return Reach(f"{scheme}://{where}:{port}", _security(config), is_local)


def check_listens(address: str, reached: Reach) -> None:
    """Check that a scheduler that asks for no certificates listens on this machine only.

    Dask's own default is to listen for everyone, also when this program reaches it by loopback.

    Args:
        address: Where it listens, as it says itself.
        reached: How this program has reached it.

    Raises:
        ConfigError: It listens beyond.
    """
    host = urlsplit(address).hostname or ""
    if not reached.security.require_encryption and not is_loopback(host):
        msg = (
            f"the scheduler {reached.address} listens at {address} too, without certificates, and "
            f"Dask runs whatever it is sent: start it with `--host tcp://{LOOPBACK}`, or give "
            "certificates to all parts of the fleet"
        )
        raise ConfigError(msg)


def _parts(url: str) -> tuple[str, int]:
    problem = ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
    except ValueError as error:
        host, port, problem = "", 0, f" ({error})"
    else:
        rest = (parts.username, parts.password, parts.path.strip("/"), parts.query, parts.fragment)
        if parts.scheme != "dask" or any(rest):
            host = ""
    if not host:
        msg = (
            f"{url} is not a scheduler{problem}: write dask://HOST:PORT, or local:N for N processes"
        )
        raise ConfigError(msg)
    return host, port


def _security(config: FleetConfig) -> Security:
    from distributed.security import Security

    if not config.encrypted:
        return Security(require_encryption=False)
    files = {"ca_file": config.tls_ca}
    for role in ("client", "scheduler", "worker"):
        files |= {f"{role}_cert": config.tls_certificate, f"{role}_key": config.tls_key}
    for file in files.values():
        if file is None or not file.is_file():
            msg = f"[plugins.fleet]: there is no file {file}; certificates and keys are in PEM"
            raise ConfigError(msg)
    named = {f"tls_{name}": str(file) for name, file in files.items()}
    security = Security(require_encryption=True, **named)
    try:
        security.get_connection_args("client")
    except OSError as error:  # `ssl.SSLError` is one
        msg = (
            "[plugins.fleet]: tls_ca, tls_certificate and tls_key cannot be used together: "
            f"{error}; they are PEM files that this program can read, and the key is that of the "
            "certificate, without a password"
        )
        raise ConfigError(msg) from error
    return security
