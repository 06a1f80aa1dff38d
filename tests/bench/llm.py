"""Language models through the chain: what it adds in CPU time, and whether its costs are right."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import anthropic
import httpx2
import openai

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo, ArgoError, Refusal
from argo_mw.plugin import Charge
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import AnswerStream, LlmPlugin, chain, transport
from argo_mw_llm.costs.cost_file import COSTS, read
from argo_mw_sandbox import Fault, Sandbox, SandboxConfig, SandboxProcess

PROVIDERS = ("claude", "glm", "deepseek", "qwen")
MODELS = ("claude-sonnet-5-5", "glm-5.3", "deepseek-v4-pro", "qwen3.8-max")
LAYERS = {"cache": CachePlugin, "coalesce": coalesce}
EVENTS = 200
BUDGET_USD = 1.0
PROCESSES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=100, help="calls in a round")
    parser.add_argument("--mixed", type=int, default=1_000, help="calls whose costs are compared")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """The figures."""
    return {
        **await added_cpu(args.rounds, args.calls),
        **await replay(),
        **await costs(args.mixed),
        **await budget(),
    }


# -- CPU ---------------------------------------------------------------------------------------


class Canned(httpx2.AsyncBaseTransport):
    """Answers at once, without sockets, so that only the two SDKs and the chain take time."""

    def __init__(self, whole: bytes, events: list[bytes]) -> None:
        self._whole = whole
        self._events = events

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if json.loads(request.content).get("stream"):
            headers = {"content-type": "text/event-stream"}
            return httpx2.Response(200, headers=headers, stream=Pieces(self._events))
        return httpx2.Response(200, json=None, content=self._whole, headers=JSON)


class Pieces(httpx2.AsyncByteStream):
    """One event at a time, each in its own turn of the loop."""

    def __init__(self, events: list[bytes]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            await asyncio.sleep(0)
            yield event


JSON = {"content-type": "application/json"}
USAGE = {"prompt_tokens": 20, "completion_tokens": 200, "total_tokens": 220}
HEAD = {"id": "c", "created": 1, "model": "deepseek-v4-pro"}
CHAT = json.dumps(
    {
        **HEAD,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * EVENTS},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
).encode()
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "text", "text": "word " * EVENTS}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 20, "output_tokens": 200},
}


def chat_events() -> list[bytes]:
    def data(choices: list[object], **more: object) -> bytes:
        told = {**HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + json.dumps(told).encode() + b"\n\n"

    words = [
        data([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}])
        for _ in range(EVENTS)
    ]
    last = data([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    return [*words, last, data([], usage=USAGE), b"data: [DONE]\n\n"]


def message_events() -> list[bytes]:
    def event(kind: str, **more: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

    word = {"type": "text_delta", "text": "word "}
    return [
        event("message_start", message={**MESSAGE, "content": [], "stop_reason": None}),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=0, delta=word) for _ in range(EVENTS)),
        event("content_block_stop", index=0),
        event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage=MESSAGE["usage"],
        ),
        event("message_stop"),
    ]


async def added_cpu(rounds: int, calls: int) -> dict[str, object]:
    """CPU time beyond the bare SDK's: for a plain completion, and for each streamed event."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        chat = Canned(CHAT, chat_events())
        messages = Canned(json.dumps(MESSAGE).encode(), message_events())
        plugin = LlmPlugin()
        async with opened({}, plugin) as argo, opened({}, LlmPlugin(), layers={}) as alone:
            bare = openai.AsyncOpenAI(
                api_key="k",
                base_url="http://127.0.0.1:1/",
                http_client=httpx2.AsyncClient(transport=chat),
            )
            through = openai.AsyncOpenAI(
                api_key="k",
                base_url="http://127.0.0.1:1/",
                http_client=httpx2.AsyncClient(transport=transport(argo, "deepseek", inner=chat)),
            )
            through_alone = openai.AsyncOpenAI(
                api_key="k",
                base_url="http://127.0.0.1:1/",
                http_client=httpx2.AsyncClient(transport=transport(alone, "deepseek", inner=chat)),
            )
            bare_claude = claude(messages)
            through_claude = claude(messages, chain(argo))
            provider = plugin.providers["deepseek"]
            provider._client = openai.AsyncOpenAI(  # type: ignore[attr-defined]
                api_key="k",
                base_url="http://127.0.0.1:1/",
                http_client=httpx2.AsyncClient(transport=chat),
            )
            contestants: dict[str, Callable[[str], Awaitable[object]]] = {
                "bare": lambda prompt: ask_chat(bare, prompt),
                "dropin": lambda prompt: ask_chat(through, prompt),
                "alone": lambda prompt: ask_chat(through_alone, prompt),
                "complete": lambda prompt: argo.call(
                    "complete", messages=prompt, model="deepseek-v4-pro"
                ),
                "bare_claude": lambda prompt: ask_claude(bare_claude, prompt),
                "dropin_claude": lambda prompt: ask_claude(through_claude, prompt),
            }
            plain = await measure(contestants, rounds, calls)
            streamed = await measure(
                {
                    "bare": lambda prompt: stream_chat(bare, prompt),
                    "dropin": lambda prompt: stream_chat(through, prompt),
                    "bare_claude": lambda prompt: stream_claude(bare_claude, prompt),
                    "dropin_claude": lambda prompt: stream_claude(through_claude, prompt),
                },
                rounds,
                max(calls // 10, 3),
            )
    chat_events_us = (streamed["dropin"] - streamed["bare"]) / EVENTS
    claude_events_us = (streamed["dropin_claude"] - streamed["bare_claude"]) / EVENTS
    return {
        "cpu_us": round(plain["dropin"] - plain["bare"], 1),
        "cpu_us_llm_alone": round(plain["alone"] - plain["bare"], 1),
        "cpu_us_claude": round(plain["dropin_claude"] - plain["bare_claude"], 1),
        "cpu_us_complete": round(plain["complete"] - plain["bare"], 1),
        "bare_sdk_us": round(plain["bare"], 1),
        "bare_sdk_us_claude": round(plain["bare_claude"], 1),
        "cpu_us_per_event": round(chat_events_us, 2),
        "cpu_us_per_event_claude": round(claude_events_us, 2),
        "bare_sdk_us_per_event": round(streamed["bare"] / EVENTS, 2),
    }


def claude(inner: httpx2.AsyncBaseTransport, *middleware: object) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        api_key="k",
        base_url="http://127.0.0.1:1",
        http_client=httpx2.AsyncClient(transport=inner),
        middleware=list(middleware),  # type: ignore[arg-type]
    )


async def ask_chat(client: openai.AsyncOpenAI, prompt: str) -> None:
    await client.chat.completions.create(
        model="deepseek-v4-pro", messages=[{"role": "user", "content": prompt}]
    )


async def stream_chat(client: openai.AsyncOpenAI, prompt: str) -> None:
    stream = await client.chat.completions.create(
        model="deepseek-v4-pro", messages=[{"role": "user", "content": prompt}], stream=True
    )
    async for _ in stream:
        pass


async def ask_claude(client: anthropic.AsyncAnthropic, prompt: str) -> None:
    await client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=1000,
        messages=[{"role": "user", "content": prompt}],
    )


async def stream_claude(client: anthropic.AsyncAnthropic, prompt: str) -> None:
    stream = await client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=1000,
        messages=[{"role": "user", "content": prompt}],
        stream=True,
    )
    async for _ in stream:
        pass


async def measure(
    contestants: Mapping[str, Callable[[str], Awaitable[object]]], rounds: int, calls: int
) -> dict[str, float]:
    """CPU microseconds a call, threads included: medians of rounds in which all take turns."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    number = 0
    for round_ in range(rounds + 1):
        for name, ask in contestants.items():
            gc.collect()
            started = time.process_time()
            for _ in range(calls):
                number += 1
                await ask(f"question {number}")
            used = time.process_time() - started
            if round_:  # the first one warms up
                taken[name].append(used / calls * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


async def replay() -> dict[str, object]:
    """Time to the first event of a stream that is replayed, through both SDKs."""
    chat = Canned(CHAT, chat_events())
    messages = Canned(json.dumps(MESSAGE).encode(), message_events())
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        async with opened({}, LlmPlugin()) as argo:
            through = openai.AsyncOpenAI(
                api_key="k",
                base_url="http://127.0.0.1:1/",
                http_client=httpx2.AsyncClient(transport=transport(argo, "deepseek", inner=chat)),
            )
            through_claude = claude(messages, chain(argo))
            await stream_chat(through, "again")
            await stream_claude(through_claude, "again")
            first_chat = [await first_of_chat(through) for _ in range(100)]
            first_claude = [await first_of_claude(through_claude) for _ in range(100)]
    return {
        "replay_ttfb_ms": round(max(map(statistics.median, (first_chat, first_claude))), 3),
        "replay_ttfb_p99_ms": round(sorted([*first_chat, *first_claude])[-3], 3),
    }


async def first_of_chat(client: openai.AsyncOpenAI) -> float:
    started = time.perf_counter()
    stream = await client.chat.completions.create(
        model="deepseek-v4-pro", messages=[{"role": "user", "content": "again"}], stream=True
    )
    await anext(aiter(stream))
    taken = (time.perf_counter() - started) * 1e3
    await stream.close()
    return taken


async def first_of_claude(client: anthropic.AsyncAnthropic) -> float:
    started = time.perf_counter()
    stream = await client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=1000,
        messages=[{"role": "user", "content": "again"}],
        stream=True,
    )
    await anext(aiter(stream))
    taken = (time.perf_counter() - started) * 1e3
    await stream.close()
    return taken


# -- Accounting -------------------------------------------------------------------------------------


async def costs(calls: int) -> dict[str, object]:
    """The recorded costs after mixed calls, beside the sandbox's own counts."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        async with Sandbox(SandboxConfig()) as sandbox:
            urls = {name: sandbox.url(name) for name in PROVIDERS}
            import argo_mw_race.plugin as race

            race_plugin = getattr(race, "RacePlugin", None)
            more = {"race": race_plugin() if race_plugin is not None else race}
            # Silent for these, so that a cancelled call is one that never was answered.
            for name, model in zip(PROVIDERS, CANCELLED, strict=True):
                sandbox.set_fault(name, Fault("stall", symbol=model))
            # Nobody is cancelled but who is meant to be: `best` waits for all of its models.
            table = {"strategy": "fallback", "operations": {"opinion": RACED}}
            async with opened(urls, LlmPlugin(), more, race=table) as argo:
                done = [mixed(argo, number) for number in range(calls)]
                for start in range(0, calls, 20):
                    await asyncio.gather(*done[start : start + 20])
            await sandbox.idle()
            told = {name: sandbox.counts_of(name) for name in PROVIDERS}
        entries = [e for e in read(Path(state) / COSTS) if not e.layer]
        saved = [e for e in read(Path(state) / COSTS) if e.layer]
    exact = [e for e in entries if not e.cost.estimated]
    booked = {name: tokens([e for e in exact if e.upstream == name]) for name in PROVIDERS}
    counted = {
        name: (c.input_tokens, c.cache_write_tokens, c.cache_read_tokens, c.output_tokens)
        for name, c in told.items()
    }
    differences = sum(
        abs(a - b) for name in PROVIDERS for a, b in zip(booked[name], counted[name], strict=True)
    )
    unanswered = sum(c.disconnects for c in told.values())
    sent = [(e.cost.tokens_expected, e.cost.tokens_in) for e in exact if e.cost.tokens_in]
    errors = [abs(expected - counted) / counted for expected, counted in sent]
    return {
        "recorded_calls": calls,
        "recorded_requests": len(entries),
        "sandbox_requests": sum(c.requests for c in told.values()),
        "recorded_exact_tokens": sum(map(sum, booked.values())),
        "recorded_token_difference": differences,
        "recorded_estimates": sum(e.cost.estimated for e in entries),
        "sandbox_unanswered": unanswered,
        "saved_entries": len(saved),
        "estimate_error": round(statistics.mean(errors), 3),
    }


CANCELLED = ("claude-opus-5", "glm-5.2", "deepseek-v4-flash", "qwen3.7-plus")


RACED = {"strategy": "best", "best_timeout": 20.0}


async def mixed(argo: Argo, number: int) -> None:
    """One of the calls: new, repeated, raced, cancelled, streamed."""
    kind, model = number % 5, MODELS[number // 5 % 4]
    prompt = f"RSI {number % 97}, price {number}. What should I do with this position today?"
    if kind == 0:
        await argo.call("complete", messages=prompt, model=model)
    elif kind == 1:
        await argo.call("complete", messages="RSI 30, price 100?", model=model)
    elif kind == 2:
        await argo.call("opinion", symbol=f"S{number}", indicators={"rsi": float(number % 90)})
    elif kind == 3:
        quiet = CANCELLED[number // 5 % 4]
        try:
            await argo.options(timeout=0.05).call("complete", messages=prompt, model=quiet)
        except ArgoError:
            return
        msg = f"{quiet} should have been silent"
        raise AssertionError(msg)
    else:
        stream = await argo.call("complete", messages=prompt, model=model, stream=True)
        assert isinstance(stream, AnswerStream)
        async for _ in stream.read():
            pass


def tokens(charges: list[Charge]) -> tuple[int, int, int, int]:
    """Tokens by the sandbox's buckets."""
    costs = [charge.cost for charge in charges]
    return (
        sum(c.tokens_in - c.tokens_written - c.tokens_cached for c in costs),
        sum(c.tokens_written for c in costs),
        sum(c.tokens_cached for c in costs),
        sum(c.tokens_out for c in costs),
    )


# -- Budget ------------------------------------------------------------------------------------


async def budget() -> dict[str, object]:
    """What several processes spend of one budget, together."""
    with tempfile.TemporaryDirectory() as state, SandboxProcess(SandboxConfig()) as sandbox:
        os.environ["ARGO_MW_STATE_DIR"] = state
        url = sandbox.url("claude")
        context = multiprocessing.get_context("spawn")
        with context.Pool(PROCESSES) as pool:
            work = [(url, state, number) for number in range(PROCESSES)]
            refusals = await asyncio.to_thread(pool.starmap, spend, work)
        entries = [e for e in read(Path(state) / COSTS) if not e.layer]
    spent = sum(e.cost.usd or 0.0 for e in entries)
    dearest = max((e.cost.usd or 0.0 for e in entries), default=0.0)
    return {
        "budget_usd": BUDGET_USD,
        "budget_spent_usd": round(spent, 4),
        "budget_over_usd": round(max(0.0, spent - BUDGET_USD), 6),
        "budget_dearest_call_usd": round(dearest, 4),
        "budget_calls": len(entries),
        "budget_refused_processes": sum(refusals),
    }


def spend(url: str, state: str, number: int) -> int:
    """ModelRequest until the budget is used up; 1 if it was."""
    os.environ["ARGO_MW_STATE_DIR"] = state
    return asyncio.run(_spend(url, number))


async def _spend(url: str, number: int) -> int:
    urls = dict.fromkeys(PROVIDERS, url)
    table = {"budgets": [{"usd": BUDGET_USD, "per": "day"}]}
    async with opened(urls, LlmPlugin(), llm=table, shared="sqlite") as argo:
        for turn in range(200):
            prompts = [f"{number} {turn} {place} " + "word " * 6_000 for place in range(4)]
            asked = [
                argo.call("complete", messages=one, model="claude-opus-5", max_tokens=300)
                for one in prompts
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            if any(isinstance(answer, Refusal) or _refused(answer) for answer in answers):
                return 1
    return 0


def _refused(answer: object) -> bool:
    causes = getattr(answer, "causes", ())
    return any(isinstance(cause, Refusal) for cause in causes)


def opened(
    urls: Mapping[str, str],
    plugin: LlmPlugin,
    more: Mapping[str, object] | None = None,
    *,
    llm: Mapping[str, object] | None = None,
    race: Mapping[str, object] | None = None,
    shared: str = "memory://",
    layers: Mapping[str, object] = LAYERS,
) -> Argo:
    """An application with the providers at *urls*."""
    tables = {name: {"url": urls.get(name, "http://127.0.0.1:1"), "key": "k"} for name in PROVIDERS}
    config = {
        "argo": {"shared": shared, "strict": True},
        "plugins": {
            "llm": {**tables, **(llm or {})},
            **({"race": race} if race is not None else {}),
        },
        "upstreams": {name: {"per_minute": 10_000_000} for name in PROVIDERS},
    }
    plugins = {"llm": plugin, **layers, **(more or {})}
    return Argo.open(config, plugins=plugins, installed=False)
