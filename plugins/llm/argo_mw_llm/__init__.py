"""Language models of any provider through the chain, with every token accounted for."""

from argo_mw_llm.answers import Completion, Embedding, Opinion, RawResponse, ToolCall, Usage
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.dropin import chain, transport
from argo_mw_llm.instrument import instrument
from argo_mw_llm.operations import complete
from argo_mw_llm.plugin import LlmPlugin
from argo_mw_llm.profiles import Errors, ProviderTable
from argo_mw_llm.streams import AnswerStream

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
