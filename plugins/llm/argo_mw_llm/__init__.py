"""Language models of any provider through the chain, with every token accounted for."""

from argo_mw_llm.answers import Completion, Embedding, Opinion, RawResponse, ToolCall, Usage
from argo_mw_llm.bodies.streams import AnswerStream
from argo_mw_llm.clients.dropin import chain, transport
from argo_mw_llm.clients.instrument import instrument
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.operations import complete
from argo_mw_llm.plugin import LlmPlugin
from argo_mw_llm.providers.profiles import Errors, ProviderTable

__all__ = [
    "AnswerStream",
    "Budget",
    "Completion",
    "Embedding",
    "Errors",
    "LlmConfig",
    "LlmPlugin",
    "Opinion",
    "ProviderTable",
    "RawResponse",
    "ToolCall",
    "Usage",
    "chain",
    "complete",
    "instrument",
    "transport",
]
