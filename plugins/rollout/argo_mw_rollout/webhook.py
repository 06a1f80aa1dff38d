"""What happens to ramps, posted to a URL."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from typing import Final

from argo_mw.plugin import Closed, Context, SecretUrl, redact

TRIES: Final = 3
_TIMEOUT: Final = 10.0
_PAUSE: Final = 2.0


class Webhook:
    """Posts JSON in the background: nothing waits for it, and nothing depends on it."""

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
                await asyncio.to_thread(_send, url, body)
            except Exception as error:  # whatever answers there
                why = redact(f"{type(error).__name__}: {error}")
            else:
                return
        self._context.report("rollout", f"the webhook was not reached ({why}): {message['text']}")


def _send(url: str, body: bytes) -> None:
    if not url.startswith(("http://", "https://")):
        msg = "the webhook is no http URL"
        raise ValueError(msg)
    headers = {"Content-Type": "application/json", "User-Agent": "argo-mw"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310
        pass
