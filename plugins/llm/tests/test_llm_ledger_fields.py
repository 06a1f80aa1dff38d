"""Every field of usage that the installed SDKs know is booked, or known to cost nothing more."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import anthropic.types as claude
import anthropic.types.beta as claude_beta
import openai.types as openai_types
import openai.types.beta as openai_beta
import openai.types.chat as openai_chat
import openai.types.responses as openai_responses
import pytest
from openai.types.create_embedding_response import Usage as EmbeddingUsage
from pydantic import BaseModel

from argo_mw_llm.answers import Usage
from argo_mw_llm.costs.counts import FREE, TIER, Counts
from argo_mw_llm.wires import chat, embeddings, messages, responses

_NUMBER = 7
_ITERATIONS = "iterations"


def leaves(kind: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted paths of the fields of *kind* that hold no others."""
    for one in alternatives(kind):
        if isinstance(one, type) and issubclass(one, BaseModel):
            for name, field in one.model_fields.items():
                yield from leaves(field.annotation, f"{path}.{name}".lstrip("."))
        elif get_origin(one) is list and get_args(one):
            yield from leaves(get_args(one)[0], path)
        elif one is not type(None):
            yield path


def alternatives(kind: Any) -> Iterator[Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        for one in get_args(kind):
            yield from alternatives(one)
    elif origin is not None and hasattr(kind, "__metadata__"):
        yield from alternatives(get_args(kind)[0])
    else:
        yield kind


USAGES: list[tuple[str, Any, Counts]] = [
    ("messages", claude.Usage, messages.COUNTS),
    ("the end of a stream of messages", claude.MessageDeltaUsage, messages.COUNTS),
    ("beta messages", claude_beta.BetaUsage, messages.COUNTS),
    ("the end of beta messages", claude_beta.BetaMessageDeltaUsage, messages.COUNTS),
    ("chat completions", openai_types.CompletionUsage, chat.COUNTS),
    ("responses", openai_responses.ResponseUsage, responses.COUNTS),
    ("beta responses", openai_beta.BetaResponseUsage, responses.COUNTS),
    ("embeddings", EmbeddingUsage, embeddings.COUNTS),
    (
        "tools of responses",
        openai_responses.Response.model_fields["tool_usage"].annotation,
        responses.TOOLS,
    ),
]


@pytest.mark.parametrize(("what", "kind", "counts"), USAGES, ids=[one[0] for one in USAGES])
def test_the_ledger_knows_every_field_of_a_usage(what: str, kind: Any, counts: Counts) -> None:
    """A release of an SDK with a field that the ledger does not know fails here."""
    found = set(leaves(kind))
    assert found, f"the SDK's {what} have no usage any more"
    of_entries = {path for path in found if path.startswith(_ITERATIONS)}
    unknown = found - of_entries - counts.fields.keys()
    assert set() == unknown, f"{what}: book these fields, or say that they cost nothing more"
    entries = {path.removeprefix(f"{_ITERATIONS}.") for path in of_entries}
    assert set() == entries - messages.ITERATION.fields.keys()


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (openai_chat.ChatCompletion, chat.TIERS),
        (openai_chat.ChatCompletionChunk, chat.TIERS),
        (openai_responses.Response, chat.TIERS),
    ],
)
def test_the_tier_of_an_answer_is_read_where_the_sdk_has_it(kind: Any, counts: Counts) -> None:
    assert "service_tier" in kind.model_fields
    assert TIER == counts.fields["service_tier"]


def nested(path: str, value: object) -> dict[str, object]:
    names = path.split(".")
    found: object = value
    for name in reversed(names):
        found = {name: found}
    assert isinstance(found, dict)
    return found


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    for name, value in other.items():
        inner = isinstance(value, dict) and isinstance(one.get(name), dict)
        one[name] = merged(one[name], value) if inner else value
    return one


def of_chat(counts: dict[str, Any]) -> Usage | None:
    return chat.usage_of(counts, counts)


def of_response(counts: dict[str, Any]) -> Usage | None:
    body = {"status": "completed", "output": [], "usage": counts, "service_tier": None}
    return responses.usage_of(body)


BASES: list[tuple[Counts, Any, dict[str, Any]]] = [
    (messages.COUNTS, messages.usage_of, {"input_tokens": 1_000, "output_tokens": 1_000}),
    (chat.COUNTS, of_chat, {"prompt_tokens": 1_000, "completion_tokens": 1_000}),
    (embeddings.COUNTS, embeddings.usage_of, {"prompt_tokens": 1_000}),
    (responses.COUNTS, of_response, {"input_tokens": 1_000, "output_tokens": 1_000}),
]


@pytest.mark.parametrize(
    ("read", "base", "path", "bucket"),
    [
        (read, base, path, bucket)
        for counts, read, base in BASES
        for path, bucket in counts.fields.items()
        if bucket != FREE
    ],
)
def test_what_is_booked_changes_the_usage(
    read: Any, base: dict[str, Any], path: str, bucket: str
) -> None:
    plain = read(merged({}, base))
    value = "priority" if bucket == TIER else _NUMBER
    changed = read(merged(merged({}, base), nested(path, value)))
    assert plain is not None
    assert changed is not None
    assert plain != changed


def test_what_an_adviser_and_a_compaction_took_is_booked_beside_the_sums() -> None:
    entry = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 1}
    counts = {
        "input_tokens": 100,
        "output_tokens": 50,
        "iterations": [
            {"type": "message", **entry},
            {"type": "compaction", **entry},
            {"type": "advisor_message", "model": "claude-opus-5-5", **entry},
        ],
    }
    usage = messages.usage_of(counts)
    assert usage is not None
    assert ["", "claude-opus-5-5"] == [one.model for one in usage.others]
    assert {11} == {one.usage.prompt for one in usage.others}


def test_a_model_that_declined_is_booked_beside_the_one_that_served() -> None:
    entry = {"input_tokens": 10, "output_tokens": 5}
    counts = {
        **entry,
        "iterations": [
            {"type": "message", "model": "claude-opus-5-5", **entry},
            {"type": "fallback_message", "model": "claude-haiku-5-5", **entry},
        ],
    }
    usage = messages.usage_of(counts)
    assert usage is not None
    assert ["claude-opus-5-5"] == [one.model for one in usage.others]


def test_tools_of_responses_are_booked() -> None:
    body = {
        "status": "completed",
        "usage": {"input_tokens": 10, "output_tokens": 5},
        "output": [{"type": "file_search_call"}],
        "tool_usage": {
            "web_search": {"num_requests": 3},
            "image_gen": {"input_tokens": 4, "output_tokens": 9},
        },
    }
    usage = responses.usage_of(body)
    assert usage is not None
    assert 3 == usage.searches
    assert ["image_generation", "file_search_call"] == [one.model for one in usage.others]
