"""What happens to ramps, posted to a URL."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from argo_mw.plugin import Closed, Context, SecretUrl, redact

TRIES: Final = 3
_TIMEOUT: Final = 10.0
_PATIENCE: Final = 30.0
"""Seconds after which a server that answers a letter at a time has failed."""

_PAUSE: Final = 2.0


class Webhook:
    """Posts JSON in the background; nothing waits for it or depends on it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def post(self, url: SecretUrl, message: Mapping[str, object]) -> None:
        """Post *message* to *url*, if there is one; tried three times."""
        if not url:
            return
        try:
            self._context.tasks.spawn("rollout:webhook", self._post(url.reveal(), message))
        except Closed:
            return

    async def _post(self, url: str, message: Mapping[str, object]) -> None:
        body = json.dumps(message, default=str).encode()
        why = ""
        for attempt in range(TRIES):
            if attempt:
                await self._context.clock.sleep(_PAUSE * 2**attempt)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _in_thread(url, body)
            except Exception as error:  # whatever answers there
                why = _why(error, url)
            else:
                return
        self._context.report("rollout", f"the webhook was not reached ({why}): {message['text']}")


def _why(error: Exception, url: str) -> str:
    """Return what *error* says, without any part of *url*: paths and queries are secrets, too."""
    text = redact(f"{type(error).__name__}: {error}".rstrip(": "))
    try:
        parts = urlsplit(url)
    except ValueError:
        return type(error).__name__
    for part in (url, f"{parts.path}?{parts.query}", parts.query, parts.path, parts.netloc):
        if len(part) > 1:
            text = text.replace(part, "…")
    return text


def _in_thread(url: str, body: bytes) -> asyncio.Future[None]:
    """Post in a thread of its own, which no other work and no end of the process waits for."""
    loop = asyncio.get_running_loop()
    sent: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if sent.done():
            return
        if error is None:
            sent.set_result(None)
        else:
            sent.set_exception(error)

    def run() -> None:
        found: Exception | None = None
        try:
            _send(url, body)
        except Exception as error:
            found = error
        try:
            loop.call_soon_threadsafe(settle, found)
        except RuntimeError:  # the loop has ended meanwhile
            return

    threading.Thread(target=run, name="rollout:webhook", daemon=True).start()
    return sent


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the page behind one would not get the message, and count as sent."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_NoRedirect)


def _send(url: str, body: bytes) -> None:
    if not url.startswith(("http://", "https://")):
        msg = "the webhook is not an http URL"
        raise ValueError(msg)
    headers = {"Content-Type": "application/json", "User-Agent": "argo-mw"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310
    try:
        with _OPENER.open(request, timeout=_TIMEOUT):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise
