"""Quotes from Finnhub: https://finnhub.io/docs/api/quote."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import httpx2
from argo_mw.plugin import (
    Action,
    Call,
    Context,
    InvalidAnswer,
    Limits,
    NotFound,
    Operation,
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
"""What the free plan allows; ``[upstreams.finnhub]`` in argo.toml says otherwise."""


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
        """Finnhub's answer, as of the second that it says.

        Raises:
            UpstreamError: It did not answer; the action says what to do.
        """
        try:
            response = await self._client.get("/quote", params={"symbol": call.subject})
        except httpx2.TransportError as error:
            msg = f"{NAME} cannot be reached: {type(error).__name__}"
            raise UpstreamError(msg, upstream=NAME, action=Action.RETRY) from None
        _check(response)
        try:
            told = response.json()
            price, as_of = float(told["c"]), float(told["t"])
        except (KeyError, TypeError, ValueError):
            msg = f"{NAME} answered without a price"
            raise InvalidAnswer(msg, upstream=NAME) from None
        if as_of == 0:
            # That is how Finnhub says so: with status 200 and zeros.
            msg = f"{NAME} does not know {call.subject}"
            raise NotFound(msg, upstream=NAME)
        return Outcome(price, as_of=as_of)

    def unsupported(self, call: Call) -> str | None:
        """Why it cannot answer *call* at all, or ``None``."""
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
    """Seconds until it may be asked again, when it says so."""
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else None


class Plugin:
    """The plugin."""

    def __init__(self) -> None:
        self._clients: WeakKeyDictionary[Context, list[httpx2.AsyncClient]] = WeakKeyDictionary()

    @hookimpl
    def register_config(self) -> type:
        """The class of the plugin's table."""
        return Config

    @hookimpl
    def register_operations(self) -> Iterable[Operation]:
        """What the service answers."""
        return [quote]

    @hookimpl
    def register_upstreams(self, config: Config, context: Context) -> Iterable[Upstream]:
        """The service."""
        headers = {"X-Finnhub-Token": config.key.reveal()}
        client = httpx2.AsyncClient(base_url=config.url, headers=headers)
        self._clients.setdefault(context, []).append(client)
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
    async def shutdown(self, context: Context) -> None:
        """Close the connections."""
        for client in self._clients.pop(context, []):
            await client.aclose()
