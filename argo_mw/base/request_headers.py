"""Request headers that do not decide the answer.

Behind an HTTP client, the chain answers requests alike if they are equal in everything else. A
header too many in the key costs a request; one too few gives one client the answer of another.
"""

from __future__ import annotations

from typing import Final

_INDIFFERENT: Final = frozenset(
    [
        "b3",
        "baggage",
        "connection",
        "content-length",
        "date",
        "http-referer",
        "idempotency-key",
        "keep-alive",
        "referer",
        "request-id",
        "sentry-trace",
        "te",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "uber-trace-id",
        "user-agent",
        "x-client-request-id",
        "x-cloud-trace-context",
    ]
)
_INDIFFERENT_PREFIXES: Final = (
    "x-amzn-trace",
    "x-b3-",
    "x-correlation-",
    "x-datadog-",
    "x-request-",
    "x-stainless-",
    "x-trace",
)
_BALANCERS: Final = ("__cf", "_cf", "cf_", "ak_bmsc", "arraffinity", "awsalb", "bigip", "bm_")
_MORE_BALANCERS: Final = ("incap_", "visid_incap_", "nlbi_", "route=", "gclb=", "lb=")


def leaves_answers_alone(header: str) -> bool:
    """Return whether a *header* serves tracing, counting or transport only.

    Args:
        header: The name of the header, in lower case.
    """
    return header in _INDIFFERENT or header.startswith(_INDIFFERENT_PREFIXES)


def is_of_balancer(cookie: str) -> bool:
    """Return whether *cookie* is one that a load balancer or bot filter sets anew in each response.

    Args:
        cookie: The cookie, beginning with its name.
    """
    return cookie.strip().lower().startswith((*_BALANCERS, *_MORE_BALANCERS))
