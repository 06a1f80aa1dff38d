"""The names under which a service answers HTTP requests."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from attrs import Attribute, field, frozen

from argo_mw.base.errors import ConfigError

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,64}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?")


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _check_names(_: object, __: Attribute[frozenset[str]], names: frozenset[str]) -> None:
    for name in sorted(names):
        if name not in (host_name(name), host_name(f"[{name}]")):
            msg = (
                f"{name!r} under `hosts` is not a name that a request can have: write the bare "
                "name, without scheme, port and brackets"
            )
            raise ConfigError(msg)


@frozen
class HostNames:
    """The names under which a service answers: those of loopback, and its own.

    A web page whose name was rebound to this machine's address sends its requests under that name.

    Attributes:
        own: Further names or addresses, in any case, without scheme, port and brackets.

    Raises:
        ConfigError: A name is written in a way that no request can have.
    """

    own: frozenset[str] = field(default=frozenset(), converter=_lower, validator=_check_names)

    def includes(self, host: str | None) -> bool:
        """Return whether the name in *host*, a ``Host`` header if there is one, is among them."""
        name = host_name(host)
        return name is not None and (name in self.own or is_loopback(name))


def host_name(host: str | None) -> str | None:
    """Return the name in a ``Host`` header: without port and brackets, in lower case.

    ``None`` where there is no header, or one that names no host.
    """
    found = None if host is None else _HOST.fullmatch(host.lower())
    return None if found is None else found[1].strip("[]")


def is_loopback(host: str) -> bool:
    """Return whether a service that binds to *host* can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
