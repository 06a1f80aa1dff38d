"""Endpoints: the providers' own protocols, for programs that come through a gateway.

A request goes to the provider in its path (``/deepseek/chat/completions``), or to the one that has
its model (``/v1/messages``, ``/v1/chat/completions``). Requests for answers go through the chain,
like those of the SDKs' clients; all others are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

from attrs import frozen

from argo_mw.plugin import (
    BadParameter,
    Endpoint,
    UnknownOperation,
    WebCall,
    WebRequest,
    WebResponse,
)
from argo_mw_llm.bodies.foreign_json import read_json
from argo_mw_llm.bodies.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.operations import EXCHANGE
from argo_mw_llm.providers.provider import Provider
from argo_mw_llm.providers.words import word
from argo_mw_llm.relay.one_meaning import check_encoding, check_path, models_in
from argo_mw_llm.relay.outgoing import has_credential, path_below
from argo_mw_llm.relay.protocol_errors import anthropic_error, openai_error
from argo_mw_llm.relay.relay import Relay
from argo_mw_llm.wires import MESSAGES, is_free, stated_at, wire_of

POST = frozenset(["POST"])
_STATELESS = ("/count_tokens", "/input_tokens", "/moderations")
_MODELS = re.compile(r"(?:/v\d\w*)?/models(?:/[^/]+)?/?")
_VERSION = "anthropic-version"
"""The header that clients of Anthropic's protocol send with every request."""


@frozen
class Protocol:
    """A protocol of providers.

    Attributes:
        paths: The paths of its requests for answers.
        wires: The wires of the providers that speak it.
        refuse: Makes an error response.
    """

    paths: Sequence[str]
    wires: Sequence[str]
    refuse: Callable[[int, str], WebResponse]


ANTHROPIC = Protocol(("/v1/messages", "/v1/messages/count_tokens"), ("anthropic",), anthropic_error)
OPENAI = Protocol(
    ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"),
    ("responses", "chat"),
    openai_error,
)
OPENAI_RESPONSES = Protocol(
    ("/v1/responses", "/v1/responses/input_tokens"), ("responses",), openai_error
)


class Endpoints:
    """The endpoints of *providers*, whose requests *relay* sends."""

    def __init__(self, providers: Mapping[str, Provider], relay: Relay) -> None:
        self._providers = providers
        self._relay = relay

    def __iter__(self) -> Iterator[Endpoint]:
        for protocol in (ANTHROPIC, OPENAI, OPENAI_RESPONSES):
            for path in protocol.paths:
                read = partial(self._by_model, protocol)
                yield Endpoint(path, read, POST, protocol.refuse, "the provider that has the model")
        yield Endpoint("/v1/*", self._by_client, refuse=openai_error, doc="passed on")
        for name, provider in self._providers.items():
            refuse = anthropic_error if provider.profile.wire is MESSAGES else openai_error
            read = partial(self._by_name, provider)
            yield Endpoint(f"/{name}/*", read, refuse=refuse, doc=f"all of {name}")

    async def _by_model(self, protocol: Protocol, request: WebRequest) -> WebCall:
        body = await body_of(request)
        model = word(body.get("model"))
        provider = self._provider_of(model, protocol.wires)
        return self._read(provider, request, path_below(provider.profile, request.path), body)

    async def _by_client(self, request: WebRequest) -> WebCall:
        protocol = ANTHROPIC if request.header(_VERSION) is not None else OPENAI
        provider = self._provider_of("", protocol.wires)
        return await self._any(provider, request, request.path)

    async def _by_name(self, provider: Provider, request: WebRequest) -> WebCall:
        return await self._any(provider, request, f"/{request.rest}")

    async def _any(self, provider: Provider, request: WebRequest, path: str) -> WebCall:
        path = path_below(provider.profile, path)
        if request.method == "POST" and wire_of(path) is not None:
            return self._read(provider, request, path, await body_of(request))
        return self._read(provider, request, path, await _glanced_at(request))

    def _read(
        self, provider: Provider, request: WebRequest, path: str, body: dict[str, object]
    ) -> WebCall:
        operation, own = provider.name + EXCHANGE, has_credential(request.headers)
        wire = wire_of(path) if request.method == "POST" else None
        if wire is None:
            check_path(request.method, path)
            free = is_free(request.method, path)
            answer: Callable[..., Awaitable[WebResponse]] = partial(
                self._relay.pass_on, provider, request, path, counted=not free
            )
            unread = not _is_stateless(request.method, path)
            models = models_in(body)
            # A batch may name several models; then no single one is checked.
            model = word(body.get("model")) if len(models) == 1 else ""
            return WebCall(operation, answer, model, "none" if free else "limited", unread, own)
        body = {**body, **stated_at(path)}
        answer = partial(self._relay.ask, provider, request, path, wire, body)
        return WebCall(operation, answer, word(body.get("model")), "limited", own_account=own)

    def _provider_of(self, model: str, wires: Sequence[str]) -> Provider:
        """Return the provider over one of *wires* that has *model*, preferably one with a key.

        Raises:
            UnknownOperation: No provider has it.
        """
        speaking = [
            one
            for wire in wires
            for one in self._providers.values()
            if one.profile.wire.name == wire
        ]
        having = [one for one in speaking if one.profile.has(model)]
        usable = [one for one in having or speaking if one.missing_key() is None]
        if having:
            return usable[0] if usable else having[0]
        # An unknown model is sent to the only provider, if there is just one.
        if len(usable) == 1 or (usable and not model):
            return usable[0]
        names = ", ".join(f"/{one.name}/" for one in speaking) or "none that speaks this protocol"
        msg = (
            f"no provider is known to have the model {model!r}: add it to the `models` of one in "
            f"[plugins.llm.providers], or begin the path with a provider's name ({names})"
        )
        raise UnknownOperation(msg)


async def body_of(request: WebRequest) -> dict[str, object]:
    """Return the JSON object in the body of *request*, if all readers read it in the same way.

    Raises:
        BadParameter: It is not one, so its cost cannot be bounded for budgets.
    """
    content = request.body
    try:
        check_encoding(request)
        body = await off_loop(len(content) > MANY_BYTES, partial(read_json, strict=True), content)
    except ValueError as error:
        msg = f"this request cannot be read: {error}; send a JSON object, not compressed"
        raise BadParameter(msg) from error
    if not isinstance(body, dict):
        msg = "this request is not a JSON object"
        raise BadParameter(msg)
    return body


async def _glanced_at(request: WebRequest) -> dict[str, object]:
    """Return the body of a *request* that is passed on, if it can be read, for its model."""
    if not (request.header("content-type") or "").startswith("application/json"):
        return {}
    try:
        return await body_of(request)
    except BadParameter:
        return {}


def _is_stateless(method: str, path: str) -> bool:
    """Return whether a request neither reads nor changes what is stored at the provider."""
    if method == "GET":
        return _MODELS.fullmatch(path) is not None
    return method == "POST" and path.endswith(_STATELESS)
