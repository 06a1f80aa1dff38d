"""Failures: what to do about providers' errors, by status and by the profile's error table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from argo_mw.plugin import Action, UpstreamError, redact
from argo_mw_llm.bodies.foreign_json import read_json
from argo_mw_llm.providers.profiles import Errors

_STOP, _SWITCH, _RETRY = Action.STOP, Action.SWITCH, Action.RETRY

_BY_STATUS = {
    400: _STOP,
    401: _SWITCH,
    402: _SWITCH,
    403: _SWITCH,
    404: _SWITCH,
    408: _RETRY,
    409: _RETRY,
    413: _STOP,
    422: _STOP,
    429: _RETRY,
}
_NO_RULES = Errors()
_MAX_MESSAGE = 300
_MAX_READ = 5000
"""The most characters of a code or message that are read."""


class ProviderFailed(UpstreamError):
    """A provider did not answer.

    Attributes:
        billed: Whether the request may cost something; with an error status it does not.
    """

    billed = False


def from_status(
    provider: str,
    status: int,
    body: object,
    headers: Mapping[str, str],
    errors: Errors = _NO_RULES,
) -> ProviderFailed:
    """Return the error for an answer with an error *status*.

    Args:
        provider: The provider's name.
        status: The status.
        body: The body, as bytes or as its JSON.
        headers: The headers.
        errors: The meaning of errors whose status is misleading.
    """
    # Secrets are removed before the text is cut, since half of one would not be recognized.
    code, message = (redact(text)[:_MAX_READ] for text in _code_and_message(body))
    text = f"{status} {code}: {message}" if code else f"{status}: {message}"
    msg = f"upstream {provider!r} answered {text[:_MAX_MESSAGE]}"
    return ProviderFailed(
        msg,
        upstream=provider,
        action=errors.action(code, message) or _action(status),
        retry_after=_retry_after(headers),
        status=status,
    )


def broken_off(provider: str, host: str, error: BaseException) -> ProviderFailed:
    """Return the error for an answer that did not come, or came damaged.

    Args:
        provider: The provider's name.
        host: The host of its API.
        error: What its client raised.
    """
    unsent = never_sent(error)
    what = "could not be reached" if unsent else "broke off"
    msg = f"upstream {provider!r} at {host} {what}: {_cause(error)}"
    failed = ProviderFailed(msg, upstream=provider)
    failed.billed = not unsent
    return failed


def _cause(error: BaseException) -> str:
    """Return the root cause of *error*, with its message if it is of the network.

    Of any other error only the type is shown, since its text may contain part of the request.
    """
    import httpx2

    network = (OSError, httpx2.NetworkError, httpx2.TimeoutException)
    texts = [str(one) for one in _with_causes(error) if isinstance(one, network)]
    text = next((one for one in reversed(texts) if one.strip()), "")
    kind = type(error).__name__
    return f"{kind}: {' '.join(redact(text).split())[:_MAX_MESSAGE]}" if text else kind


def answered_too_much(provider: str, error: BaseException) -> ProviderFailed:
    """Return the error for an answer that is larger than allowed, which still costs something."""
    failed = ProviderFailed(f"upstream {provider!r} was cut off: {error}", upstream=provider)
    failed.billed = True
    return failed


def never_sent(error: BaseException) -> bool:
    """Return whether *error* means that the request was not sent, so that it costs nothing."""
    import httpx2

    unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, UnicodeEncodeError)
    return any(isinstance(one, unsent) for one in _with_causes(error))


def ran_out_of_time(error: BaseException) -> bool:
    """Return whether *error* means that the caller's time is up."""
    import httpx2

    late = (httpx2.TimeoutException, TimeoutError, asyncio.CancelledError)
    return any(isinstance(one, late) for one in _with_causes(error))


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and its causes, each once, since they may be circular."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__


def _action(status: int) -> Action:
    return _BY_STATUS.get(status, _RETRY if status >= 500 else _SWITCH)


def _code_and_message(body: object) -> tuple[str, str]:
    if isinstance(body, (bytes, str)):
        try:
            body = read_json(body)
        except ValueError:
            return "", "an answer that is not JSON"
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(inner, Mapping):
        return "", _plain(inner) or "an answer of another form"
    code = inner.get("code") or inner.get("type")
    return _plain(code), _plain(inner.get("message"))


def _plain(written: object) -> str:
    """Return *written* as text if it is text or a number, else ""."""
    return str(written) if isinstance(written, (str, int, float)) else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    given = headers.get("retry-after")
    try:
        return max(0.0, float(given)) if given is not None else None
    except ValueError:
        return None
