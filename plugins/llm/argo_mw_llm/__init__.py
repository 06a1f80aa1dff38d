"""Claude, GLM, DeepSeek and Qwen through the chain, every token accounted for."""

from argo_mw_llm.config import Budget, LlmConfig
from argo_mw_llm.dropin import chain, transport
from argo_mw_llm.plugin import LlmPlugin
from argo_mw_llm.streams import AnswerStream
from argo_mw_llm.values import Completion, Opinion, Reply, ToolCall, Usage

__all__ = [
    "AnswerStream",
    "Budget",
    "Completion",
    "LlmConfig",
    "LlmPlugin",
    "Opinion",
    "Reply",
    "ToolCall",
    "Usage",
    "chain",
    "transport",
]
