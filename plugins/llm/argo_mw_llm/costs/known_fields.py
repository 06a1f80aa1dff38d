"""The fields that a request may have under a budget: none of them adds to its price.

All others are refused, so that a field that a provider adds tomorrow cannot cost more than what was
held.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_ALL = frozenset(
    [
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "stream",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
MESSAGES = _ALL.union(
    [
        "anthropic_version",
        "cache_control",
        "output_config",
        "output_format",
        "stop_sequences",
        "system",
        "thinking",
    ]
)
"""Fields of Anthropic's messages."""

CHAT = _ALL.union(
    [
        "do_sample",
        "enable_thinking",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "min_p",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "preserve_thinking",
        "prompt_cache_key",
        "prompt_cache_options",
        "reasoning_effort",
        "repetition_penalty",
        "request_id",
        "response_format",
        "safety_identifier",
        "seed",
        "stop",
        "store",
        "stream_options",
        "thinking",
        "thinking_budget",
        "tool_stream",
        "top_logprobs",
        "user",
        "user_id",
        "verbosity",
        "vl_high_resolution_images",
    ]
)
"""Fields of a chat completion, of OpenAI and of other providers with its protocol."""

COMPLETIONS = frozenset(
    [
        "best_of",
        "echo",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_tokens",
        "model",
        "n",
        "presence_penalty",
        "prompt",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "suffix",
        "temperature",
        "top_p",
        "user",
    ]
)
"""Fields of a completion of a text."""

EMBEDDINGS = frozenset(["dimensions", "encoding_format", "input", "model", "user"])
"""Fields of a request for embeddings."""

RESPONSES = frozenset(
    [
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "reasoning",
        "safety_identifier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
"""Fields of OpenAI's responses."""

RESPONSE_ITEMS = frozenset(
    [
        "custom_tool_call",
        "custom_tool_call_output",
        "function_call",
        "function_call_output",
        "message",
        "reasoning",
    ]
)
"""Types of items in a response's input whose content is in the request."""

USUAL_VALUES: Mapping[str, tuple[object, ...]] = {
    "service_tier": ("auto", "default", "standard", "standard_only"),
    "speed": ("standard",),
    "inference_geo": ("global",),
    "modalities": (["text"], ("text",)),
}
"""Fields that change the price unless they have one of these values."""

MESSAGE_FIELDS = frozenset(
    [
        "cache_control",
        "content",
        "function_call",
        "name",
        "partial",
        "prefix",
        "reasoning_content",
        "refusal",
        "role",
        "tool_call_id",
        "tool_calls",
    ]
)
"""Fields of a message."""

TEXT_BLOCKS = frozenset(
    [
        "input_text",
        "output_text",
        "reasoning_text",
        "redacted_thinking",
        "refusal",
        "summary_text",
        "text",
        "thinking",
        "tool_use",
    ]
)
"""Types of content that are only text."""

NESTED_BLOCKS = frozenset(["search_result", "tool_result"])
"""Types of content that hold other content."""

BLOCK_FIELDS = frozenset(
    [
        "annotations",
        "cache_control",
        "caller",
        "citations",
        "content",
        "data",
        "id",
        "input",
        "is_error",
        "logprobs",
        "name",
        "prompt_cache_breakpoint",
        "refusal",
        "signature",
        "source",
        "text",
        "thinking",
        "title",
        "tool_use_id",
        "toolset_name",
        "type",
    ]
)
"""Fields of content that is text, or that holds other content."""

TOOL_FIELDS = frozenset(
    [
        "allowed_callers",
        "async",
        "cache_control",
        "custom",
        "defer_loading",
        "description",
        "eager_input_streaming",
        "format",
        "function",
        "input_examples",
        "input_schema",
        "name",
        "output_schema",
        "parameters",
        "strict",
        "type",
    ]
)
"""Fields of a tool that the client describes and runs."""

CLIENT_TOOLS = re.compile(r"(?:bash|computer|memory|text_editor)_\d+")
"""The types of tools that the provider defines and the client runs."""
