"""The table ``[plugins.market]``."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, validators

from argo_mw.plugin import Secret, is_loopback

MAX_DECODED_BYTES: Final = 32 * 2**20
"""Some 300,000 bars of the most talkative vendor."""


def _keeps_the_key_safe(_: object, attribute: Attribute[str], url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return
    msg = f"url {url!r} would send the key in the clear; use https://, or http:// to 127.0.0.1"
    raise ValueError(msg)


@frozen
class AlpacaConfig:
    """The table ``[plugins.market.alpaca]``.

    Attributes:
        url: The base URL of its data API.
        key: The key id; by default ``APCA_API_KEY_ID`` from the environment.
        secret: The secret key; by default ``APCA_API_SECRET_KEY`` from the environment.
        feed: ``sip``, ``iex`` or ``delayed_sip``; by default the best that the plan has.
    """

    url: str = field(default="https://data.alpaca.markets", validator=_keeps_the_key_safe)
    key: Secret | None = None
    secret: Secret | None = None
    feed: str | None = None


@frozen
class MassiveConfig:
    """The table ``[plugins.market.massive]``.

    Attributes:
        url: The base URL of its API.
        key: The key; by default ``MASSIVE_API_KEY`` or ``POLYGON_API_KEY`` from the environment.
    """

    url: str = field(default="https://api.massive.com", validator=_keeps_the_key_safe)
    key: Secret | None = None


@frozen
class AlphaVantageConfig:
    """The table ``[plugins.market.alphavantage]``.

    Attributes:
        url: The base URL of its API.
        key: The key; by default ``ALPHAVANTAGE_API_KEY`` from the environment.
        paid: Whether the plan includes more than the last 100 bars.
    """

    url: str = field(default="https://www.alphavantage.co", validator=_keeps_the_key_safe)
    key: Secret | None = None
    paid: bool = False


@frozen
class MarketConfig:
    """The table ``[plugins.market]``.

    Attributes:
        alpaca: How to reach Alpaca.
        massive: How to reach Massive.
        alphavantage: How to reach Alpha Vantage.
        stale_days: Days since the last bar of a stock after which a frame is not accepted as an
            answer. The longest regular closures of exchanges take four.
        stale_days_pairs: The same for pairs, which trade around the clock; at least three bars.
        max_decoded_bytes: The largest answer of a vendor to one call, in bytes after decompression,
            with all pages; a larger one is refused while it comes in.
    """

    alpaca: AlpacaConfig = field(factory=AlpacaConfig)
    massive: MassiveConfig = field(factory=MassiveConfig)
    alphavantage: AlphaVantageConfig = field(factory=AlphaVantageConfig)
    stale_days: float = field(default=5.0, validator=validators.gt(0))
    stale_days_pairs: float = field(default=1.0, validator=validators.gt(0))
    max_decoded_bytes: int = field(default=MAX_DECODED_BYTES, validator=validators.gt(0))
