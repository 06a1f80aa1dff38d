"""Claude, GLM, DeepSeek and Qwen through the chain, every token accounted for."""

from argo_mw_llm.answers import Completion, Opinion, RawResponse, ToolCall, Usage
from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.dropin import chain, transport
from argo_mw_llm.instrument import instrument
from argo_mw_llm.plugin import LlmPlugin
from argo_mw_llm.streams import AnswerStream

__all__ = [
    "AnswerStream",
    "Budget",
    "Completion",
    "LlmConfig",
    "LlmPlugin",
    "Opinion",
    "RawResponse",
    "ToolCall",
    "Usage",
    "chain",
    "instrument",
    "transport",
]
