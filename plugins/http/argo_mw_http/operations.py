"""Operations: one for each route, asked only by the clients whose requests it is about."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Final

from attrs import evolve

from argo_mw.plugin import AnyOperation, operation
from argo_mw_http.answers import HttpAnswer, NotShared
from argo_mw_http.config import HttpConfig, Route
from argo_mw_http.identity import HttpRequest, identity_of, parameter_of, shown_parts
from argo_mw_http.routes import Match

_TIMEOUT: Final = 3600.0
"""Longer than clients wait: a deadline is up to them."""


def operations(config: HttpConfig) -> Iterable[AnyOperation]:
    """Return the operations of the routes."""
    return [_operation_of(route) for route in config.routes]


def parameters_of(match: Match[Route], request: HttpRequest) -> dict[str, object]:
    """Return the parameters of the call that asks what *request* asks, by its route."""
    route = match.route
    asked: dict[str, object] = {**shown_parts(route, match.parts)}
    if route.subject and route.subject not in match.parts:
        asked[route.subject] = parameter_of(request.query, route.subject) or ""
    return {**asked, "address": request.address, "identity": identity_of(route, request)}


def _operation_of(route: Route) -> AnyOperation:
    names = list(shown_parts(route, dict.fromkeys(route.pattern.names, "")))
    if route.subject and route.subject not in route.pattern.names:
        names.append(route.subject)
    parameters = [
        *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names),
        # Only a client knows them; `argo-mw explain` asks without.
        inspect.Parameter("address", inspect.Parameter.KEYWORD_ONLY, default=""),
        inspect.Parameter("identity", inspect.Parameter.KEYWORD_ONLY, default=""),
    ]
    declare = operation(
        name=route.operation,
        kind="fetch",
        data_type=route.data_type,
        scope=route.scope,
        accept=_no_response,
        timeout=_TIMEOUT,
        # With cache_control, what a response says caps it: the upstream works it out.
        ttl=None if route.cache_control else route.ttl,
        grace=0.0 if route.grace is None and route.cache_control else route.grace,
    )
    return evolve(
        declare(_response),
        signature=inspect.Signature(parameters),
        subject=route.subject,
        doc=f"{route.method} {route.host}{route.path}",
    )


def _response() -> object:
    """Return a response of an API."""
    raise NotImplementedError


def _no_response(value: object) -> str | None:
    if isinstance(value, (HttpAnswer, NotShared)):
        return None
    return f"a {type(value).__name__} is not a response"
