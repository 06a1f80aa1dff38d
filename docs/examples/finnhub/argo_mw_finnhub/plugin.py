"""Quotes from Finnhub: https://finnhub.io/docs/api/quote."""

from __future__ import annotations

from collections.abc import Iterable

import httpx2
from argo_mw.plugin import (
    Action,
    AnyOperation,
    Call,
    InvalidAnswer,
    Limits,
    NotFound,
    Outcome,
    Secret,
    Upstream,
    UpstreamError,
    hookimpl,
    operation,
)
from attrs import field, frozen

NAME = "finnhub"
FREE = Limits(per_second=30, per_minute=60)
"""What the free plan allows; ``[upstreams.finnhub]`` in argo.toml overrides it."""


@frozen
class Config:
    """The table ``[plugins.finnhub]``.

    Attributes:
        key: The key of the service; without one it is not asked.
        url: Where the service is.
    """

    key: Secret = field(default=Secret(""))
    url: str = "https://finnhub.io/api/v1"


@operation(name=f"{NAME}.quote", subject="symbol")
def quote(symbol: str) -> float:
    """The last price of *symbol*."""
    raise NotImplementedError


class Finnhub:
    """Asks Finnhub for quotes.

    Args:
        client: Its key is a header of the client, so that no URL and no error shows it.
        has_key: Whether it has one.
    """

    def __init__(self, client: httpx2.AsyncClient, *, has_key: bool) -> None:
        self._client = client
        self._has_key = has_key

    async def fetch(self, call: Call) -> Outcome:
        """Return Finnhub's answer, as of the second that it names.

        Raises:
            UpstreamError: It did not answer; the action says what to do about it.
        """
        try:
            response = await self._client.get("/quote", params={"symbol": call.subject})
        except httpx2.TransportError as error:
            msg = f"{NAME} cannot be reached: {type(error).__name__}"
            raise UpstreamError(msg, upstream=NAME, action=Action.RETRY) from None
        _check(response)
        try:
            quoted = response.json()
            price, as_of = float(quoted["c"]), float(quoted["t"])
        except (KeyError, TypeError, ValueError):
            msg = f"{NAME} answered without a price"
            raise InvalidAnswer(msg, upstream=NAME) from None
        if as_of == 0:
            # Finnhub reports an unknown symbol with status 200 and zeros.
            msg = f"{NAME} does not know {call.subject}"
            raise NotFound(msg, upstream=NAME)
        return Outcome(price, as_of=as_of)

    def unsupported(self, call: Call) -> str | None:
        """Say why it cannot answer *call* at all, or return ``None``."""
        return None if self._has_key else f"no key: set key in [plugins.{NAME}]"


def _check(response: httpx2.Response) -> None:
    """Raise unless *response* is an answer."""
    status = response.status_code
    if status in (401, 403):
        msg = f"{NAME} refused the key (HTTP {status}): check key in [plugins.{NAME}]"
        raise UpstreamError(msg, upstream=NAME, action=Action.SWITCH, status=status)
    if status == 429 or status >= 500:
        msg = f"{NAME} is overloaded or down (HTTP {status})"
        raise UpstreamError(
            msg, upstream=NAME, action=Action.RETRY, retry_after=_wait(response), status=status
        )
    if status != 200:
        msg = f"{NAME} refused the question (HTTP {status})"
        raise UpstreamError(msg, upstream=NAME, action=Action.STOP, status=status)


def _wait(response: httpx2.Response) -> float | None:
    """Return the seconds until it may be asked again, when it says so."""
    seconds = response.headers.get("retry-after", "")
    return float(seconds) if seconds.isdecimal() else None


class Plugin:
    """What the plugin registers."""

    def __init__(self) -> None:
        self._clients: list[httpx2.AsyncClient] = []

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the plugin's table."""
        return Config

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return what the service answers."""
        return [quote]

    @hookimpl
    def register_upstreams(self, config: Config) -> Iterable[Upstream]:
        """Return the service. Called again when the configuration has changed."""
        headers = {"X-Finnhub-Token": config.key.reveal()}
        client = httpx2.AsyncClient(base_url=config.url, headers=headers)
        self._clients.append(client)
        service = Finnhub(client, has_key=bool(config.key))
        return [
            Upstream(
                NAME,
                [quote.name],
                service.fetch,
                limits=FREE,
                metered=True,
                timeout=10,
                unsupported=service.unsupported,
            )
        ]

    @hookimpl
    async def shutdown(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()
