"""The invariant of budgets: what was billed and what may yet be billed lie within them.

The provider here is hostile: it takes as many tokens as its price list lets it, bills what it
likes, and its answers hold any nonsense as their count of tokens. Callers ask at once, with odd
requests, and leave at any moment.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argo_mw import Argo, ArgoError
from argo_mw.plugin import context_of
from argo_mw_llm import AnswerStream, LlmPlugin, Usage
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.clients.exchange import Asked, exchange
from argo_mw_llm.clients.identity import nobody_else
from argo_mw_llm.clients.made_responses import Answer, pieces_of
from argo_mw_llm.clients.own_response import OwnResponse, intake_of
from argo_mw_llm.costs.prices import load_prices
from argo_mw_llm.wires import CHAT, MESSAGES, Wire

from .conftest import PROVIDERS

KEY = "argo:llm:{budget}:0:::ever"
NANO = 1_000_000_000
PRICES = load_prices()
MODELS = {
    "claude": ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-5-5"),
    "glm": ("glm-5.3", "zai-org/GLM-5.3-Flash"),
    "qwen": ("qwen3.7-plus", "qwen3.8-max-2026-11-01"),
}

NONSENSE: list[object] = [
    None,
    "many",
    [],
    {},
    {"prompt_tokens": -5, "completion_tokens": 7, "input_tokens": -5, "output_tokens": 7},
    {"prompt_tokens": 5, "completion_tokens": -(10**9), "input_tokens": 5, "output_tokens": -1},
    {"prompt_tokens": 10**30, "completion_tokens": 1, "input_tokens": 10**30, "output_tokens": 1},
    {"prompt_tokens": 1.5, "completion_tokens": 1, "input_tokens": 1.5, "output_tokens": 1},
    {"prompt_tokens": True, "completion_tokens": 1, "input_tokens": True, "output_tokens": 1},
    {"prompt_tokens": "9", "completion_tokens": 1, "input_tokens": "9", "output_tokens": 1},
    {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 0, "output_tokens": 0},
    {"completion_tokens": 0, "output_tokens": 0},
    {"prompt_tokens": 3, "input_tokens": 3},
]
ENDS = [
    "honest",
    "honest",
    "cheaper",
    "nonsense",
    "damaged",
    "status",
    "unsent",
    "leave",
    "overrun",
]


def mostly(usual: st.SearchStrategy[Any], *odd: object) -> st.SearchStrategy[Any]:
    """Draw what a budget can let pass, and one in eight times something odd."""
    return st.integers(0, 7).flatmap(lambda n: st.sampled_from(odd) if n == 7 else usual)


texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "3141592653" * 600,
            "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 2_000,
            "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 300,
        ]
    ),
)
CACHED = {"type": "text", "text": "kept", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
IMAGES = (
    {"type": "image", "source": {"type": "base64", "data": "aWk="}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aWk="}},
)
BY_REFERENCE = (
    {"type": "file_url", "file_url": {"url": "https://example.com/a.pdf"}},
    {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "input_audio", "input_audio": {"data": "aWk="}},
)
blocks = mostly(
    st.one_of(
        texts.map(lambda text: {"type": "text", "text": text}),
        st.sampled_from([CACHED, *IMAGES]),
    ),
    *BY_REFERENCE,
)
counts = mostly(st.integers(1, 3_000), 8.0, 2.5, -1, 0, None, True, "9", math.nan)
bodies = st.fixed_dictionaries(
    {"messages": st.lists(st.one_of(texts, st.lists(blocks, max_size=3)), min_size=1, max_size=3)},
    optional={
        "max_tokens": counts,
        "max_completion_tokens": counts,
        "n": mostly(st.integers(1, 8), None, 8.0, "8", -3),
        "system": texts,
        "thinking_budget": counts,
        "enable_thinking": st.booleans(),
        "thinking": st.sampled_from([{"type": "enabled", "budget_tokens": 900}, None]),
        "cache_control": st.sampled_from([{"type": "ephemeral"}, {"ttl": "1h"}]),
        "tools": mostly(
            st.just([{"name": "t", "input_schema": {"type": "object"}}]),
            [{"type": "web_search_20250305", "name": "web_search"}],
        ),
        "web_search": mostly(st.just(False), True),
        "stream": st.booleans(),
    },
)


@define(eq=False)
class Request:
    """A request of the test, how its provider ends it, and what it is billed."""

    provider: str
    model: str
    body: Mapping[str, Any]
    end: str
    nonsense: object
    share: float
    go: asyncio.Event = field(factory=asyncio.Event)
    bill: float = 0.0
    sent: bool = False
    overrun: bool = False

    @property
    def wire(self) -> Wire:
        return MESSAGES if self.provider == "claude" else CHAT

    def take(self, sent: Mapping[str, Any]) -> Usage:
        """Return the tokens that the provider takes of what was *sent*: as many as it may."""
        text = json.dumps(sent["messages"], ensure_ascii=False) + str(sent.get("system", ""))
        normal = unicodedata.normalize("NFKC", text)
        size = max(len(one.encode("utf-8", "surrogatepass")) for one in (text, normal))
        images = text.count("aWk=") * 8_000
        prompt = max(1, int(self.share * size)) + images
        limits = [sent.get("max_tokens"), sent.get("max_completion_tokens")]
        output = max(int(limit) for limit in limits if limit is not None)
        if self.provider == "qwen" and sent.get("enable_thinking") is not False:
            output += int(sent["thinking_budget"])
        if self.provider == "claude" and sent.get("thinking"):
            output += sent["thinking"]["budget_tokens"]
        output = int(self.share * output * int(sent.get("n") or 1))
        if self.provider != "claude" or "ephemeral" not in text + str(sent.get("cache_control")):
            return Usage(input=prompt, output=output)
        hour = "'1h'" in str(sent)
        return Usage(0, output, write_5m=0 if hour else prompt, write_1h=prompt if hour else 0)

    async def send(self, argo: Argo, changes: Mapping[str, object]) -> Answer:
        self.sent = True
        sent = {**self.body, **changes}
        usage = self.take(sent)
        if self.end == "overrun":
            usage = Usage(input=usage.prompt + 3_000_000, output=usage.output)
            self.overrun = True
        at = context_of(argo).clock.time()
        bill = PRICES.usd(self.model, usage, at)
        assert bill is not None
        # Errors and what was never sent cost nothing; a caller who leaves may be billed in full.
        self.bill = 0.0 if self.end in ("status", "unsent") else bill
        await self.go.wait()
        if self.end == "unsent":
            msg = "no connection"
            raise httpx2.ConnectError(msg)
        status = 500 if self.end == "status" else 200
        content = b"{" if self.end == "damaged" else json.dumps(self.answer(usage)).encode()
        streamed = bool(self.body.get("stream"))
        if streamed and status == 200:
            content = self.events(usage)
        kind = "text/event-stream" if streamed else "application/json"
        response = httpx2.Response(
            status,
            headers={"content-type": kind},
            content=content,
            request=httpx2.Request("POST", "https://provider.example"),
        )
        own: OwnResponse[httpx2.Response] = OwnResponse(
            intake_of(argo),
            self.provider,
            self.wire,
            self.body,
            in_pieces=streamed,
            readable=pieces_of,
        )
        return await own.take(response, response)

    def counts(self, usage: Usage) -> object:
        if self.end == "nonsense":
            return self.nonsense
        if self.provider == "claude":
            return {
                "input_tokens": usage.input,
                "output_tokens": usage.output,
                "cache_creation_input_tokens": usage.write_5m + usage.write_1h,
                "cache_creation": {"ephemeral_1h_input_tokens": usage.write_1h},
            }
        return {"prompt_tokens": usage.prompt, "completion_tokens": usage.output}

    def answer(self, usage: Usage) -> dict[str, object]:
        model = "claude-haiku-5-5" if self.end == "cheaper" else self.model
        choices = [{"message": {"content": "ok"}, "finish_reason": "stop"}]
        head = {"model": model, "usage": self.counts(usage)}
        return {**head, "choices": choices, "content": [], "stop_reason": "end_turn"}

    def events(self, usage: Usage) -> bytes:
        if self.end == "damaged":
            return b"data: {\n\n"
        answer = self.answer(usage)
        if self.provider == "claude":
            start = {"type": "message_start", "message": answer}
            delta = {"stop_reason": "end_turn"}
            last = {"type": "message_delta", "usage": answer["usage"], "delta": delta}
            stop = "event: message_stop\ndata: {}\n\n"
            return f"data: {json.dumps(start)}\n\ndata: {json.dumps(last)}\n\n{stop}".encode()
        return f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n".encode()


@st.composite
def requests(draw: st.DrawFn) -> Request:
    provider = draw(st.sampled_from(sorted(MODELS)))
    body = draw(bodies)
    if provider == "claude" and draw(st.integers(0, 7)):
        # What its SDK sends, which always names a limit.
        for name in ("n", "max_completion_tokens", "enable_thinking", "thinking_budget"):
            body.pop(name, None)
        body.setdefault("max_tokens", 700)
    elif draw(st.integers(0, 7)):
        body.pop("cache_control", None)
        body.pop("system", None)
    messages = [{"role": "user", "content": content} for content in body["messages"]]
    model = draw(st.sampled_from(MODELS[provider]))
    return Request(
        provider,
        model,
        {**body, "messages": messages, "model": model},
        draw(st.sampled_from(ENDS)),
        draw(st.sampled_from(NONSENSE)),
        draw(st.sampled_from([0.1, 0.9, 1.0])),
    )


async def ask(argo: Argo, request: Request) -> None:
    async def send(changes: Mapping[str, object]) -> Answer:
        return await request.send(argo, changes)

    # A refusal, or whatever the provider raised: the bill alone is looked at.
    with suppress(ArgoError, httpx2.ConnectError):
        answer = await exchange(
            argo,
            Asked(
                request.provider,
                request.body,
                nobody_else(request.wire.path),
                in_pieces=bool(request.body.get("stream")),
                patience=None,
                epoch="",
                tenant=None,
            ),
            send,
        )
        if isinstance(answer, AnswerStream):
            with suppress(ArgoError):
                assert [piece async for piece in answer.read()]


def steps(plan: list[tuple[Request, int]]) -> Iterator[tuple[Request, str]]:
    """Yield the starts and ends of the requests, each overlapping with those that follow."""
    for place, (request, _) in enumerate(plan):
        yield request, "start"
        for other, overlap in plan[: place + 1]:
            if plan.index((other, overlap)) + overlap == place:
                yield other, "end"
    for request, overlap in plan:
        if plan.index((request, overlap)) + overlap >= len(plan):
            yield request, "end"


async def play(plan: list[tuple[Request, int]], usd: float) -> None:
    tables = {name: {"url": "http://127.0.0.1:1", "key": "k"} for name in PROVIDERS}
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"llm": {"providers": tables, "budgets": [{"usd": usd, "per": "ever"}]}},
        "upstreams": {name: {"per_minute": 1_000_000} for name in PROVIDERS},
    }
    limit = round(usd * NANO)
    callers: dict[Request, asyncio.Task[None]] = {}
    reserved: dict[Request, int] = {}
    booked = 0
    async with Argo.open(config, plugins={"llm": LlmPlugin}, installed=False) as argo:
        shared = context_of(argo).shared
        stopped = False
        for request, what in steps(plan):
            if what == "start":
                callers[request] = asyncio.create_task(ask(argo, request))
            elif request.end == "leave":
                callers[request].cancel()
            else:
                request.go.set()
            for _ in range(60):
                await asyncio.sleep(0)
            before, booked = booked, (await shared.add(KEY, 0)).value
            if what == "start":
                reserved[request] = booked - before
                assert not (stopped and request.sent), "a stopped budget let a request pass"
                assert request.overrun or request.bill * NANO <= reserved[request] + 1
            else:
                assert callers[request].done()
                reserved[request] = 0
            # What was billed and what is reserved is booked; and it is within the budget.
            billed = sum(one.bill * NANO for one in callers if callers[one].done())
            assert billed + sum(reserved.values()) <= booked + len(callers)
            stopped = await shared.get(KEY + STOPPED) is not None
            overrun = any(one.overrun and callers[one].done() for one in callers)
            assert stopped == overrun
            assert overrun or booked <= limit
        for task in callers.values():
            task.cancel()
        ended = await asyncio.gather(*callers.values(), return_exceptions=True)
        assert {None, asyncio.CancelledError} >= {type(one) if one else None for one in ended}, (
            ended
        )


@pytest.mark.parametrize("provider", sorted(MODELS))
def test_what_a_budget_lets_pass_reaches_its_provider_and_is_billed(provider: str) -> None:
    """So that the properties below speak of requests that are sent."""
    body = {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 700}
    model = MODELS[provider][0]
    request = Request(provider, model, {**body, "model": model}, "honest", None, 1.0)
    check([(request, 0)], 20.0)
    assert request.sent
    assert request.bill > 0.0


@given(
    plan=st.lists(st.tuples(requests(), st.integers(0, 4)), min_size=1, max_size=8),
    usd=st.sampled_from([0.01, 0.05, 0.5, 20.0]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_billed_and_what_may_be_billed_is_within_the_budget(
    plan: list[tuple[Request, int]], usd: float
) -> None:
    check(plan, usd)


@pytest.mark.soak
@given(
    plan=st.lists(st.tuples(requests(), st.integers(0, 6)), min_size=4, max_size=24),
    usd=st.sampled_from([0.01, 0.05, 0.5, 2.0, 20.0]),
)
@settings(max_examples=1_500, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_same_for_longer(plan: list[tuple[Request, int]], usd: float) -> None:
    check(plan, usd)


def check(plan: list[tuple[Request, int]], usd: float) -> None:
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        asyncio.run(play(plan, usd))
