"""The plugin: what it registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from argo_mw.plugin import (
    AnyOperation,
    Call,
    Codecs,
    Context,
    CostTable,
    Endpoint,
    Guard,
    Observer,
    Panel,
    PartlyFailed,
    Tasks,
    Upstream,
    hookimpl,
)
from argo_mw_llm.answers import (
    Completion,
    Embedding,
    Opinion,
    OtherUsage,
    RawResponse,
    ToolCall,
    Usage,
)
from argo_mw_llm.bodies.streams import AnswerStream, from_plain, to_plain
from argo_mw_llm.budgets.guard import BudgetGuard, CountTokens
from argo_mw_llm.budgets.panel import budget_panel
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.costs.accounting import Accounting
from argo_mw_llm.costs.cost_file import COSTS, CostFile
from argo_mw_llm.costs.genai import GenaiPrices
from argo_mw_llm.costs.savings import Savings
from argo_mw_llm.operations import operations, opinion_operations
from argo_mw_llm.providers.chat import ChatProvider
from argo_mw_llm.providers.embedder import Embedder
from argo_mw_llm.providers.limit_guard import LimitGuard
from argo_mw_llm.providers.messages import MessagesProvider
from argo_mw_llm.providers.openai_sdk import OpenAiProvider
from argo_mw_llm.providers.provider import Provider
from argo_mw_llm.providers.responses import ResponsesProvider
from argo_mw_llm.relay.endpoints import Endpoints
from argo_mw_llm.relay.relay import Relay
from argo_mw_llm.views import TOLERANCES
from argo_mw_llm.voices import Voices

_KINDS: Mapping[str, type[Provider]] = {
    "anthropic": MessagesProvider,
    "chat": ChatProvider,
    "responses": ResponsesProvider,
}


class LlmPlugin:
    """The plugin, one for each application: it owns the providers' connections."""

    def __init__(self) -> None:
        self._config = LlmConfig()
        self._providers: dict[str, Provider] = {}
        self._embedders: dict[str, Embedder] = {}
        self._retired: list[Provider] = []  # closed at shutdown: calls may need them
        self._costs: CostFile | None = None
        self._followed: GenaiPrices | None = None
        self._tasks: Tasks | None = None
        self._relay: Relay | None = None
        self.accounting: Accounting | None = None

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers, by name."""
        return self._providers

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.llm]``."""
        return LlmConfig

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """Let answers be kept in shared stores."""
        for kind in (Usage, OtherUsage, ToolCall, Completion, Embedding, Opinion, RawResponse):
            codecs.register_fields(kind, f"llm.{kind.__name__.lower()}")
        codecs.register(AnswerStream, "llm.stream", to_plain, self._replayed)

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """Return the kinds of data that its operations answer with."""
        return ("ai_reasoning",)

    @hookimpl
    def register_operations(self, config: LlmConfig) -> Iterable[AnyOperation]:
        """Return ``complete``, ``opinion``, the voices, and the SDKs' own requests."""
        return operations(config)

    @hookimpl
    def register_upstreams(self, config: LlmConfig, context: Context) -> Iterable[Upstream]:
        """Return the providers, and the upstream behind the voices."""
        self._config = config
        self._tasks = context.tasks
        self.accounting = Accounting(config, context)
        self._retired += self._providers.values()
        self._providers = {
            name: _KINDS[profile.wire.name](profile, config, context, self.accounting)
            for name, profile in config.profiles.items()
        }
        self._embedders = self._made_embedders(config, context)
        return [
            *(provider.upstream() for provider in self._providers.values()),
            *(embedder.upstream() for embedder in self._embedders.values()),
            Voices(config, context).upstream(),
        ]

    @hookimpl
    def register_guards(self, context: Context, upstream: Upstream) -> Iterable[Guard]:
        """Return the guards of budgets and of reported limits, for each provider."""
        embedder = self._embedders.get(upstream.name)
        if embedder is not None:
            return self._guards(embedder.provider, embedder.model, context, _no_count)
        provider = self._providers.get(upstream.name)
        if provider is None:
            return []
        return self._guards(provider, provider.default_model, context, provider.count_tokens)

    def _guards(
        self, provider: Provider, model: str, context: Context, count: CountTokens
    ) -> Iterable[Guard]:
        assert self.accounting is not None
        return [
            BudgetGuard(provider.name, model, self.accounting, context, count),
            LimitGuard(provider.name, model, provider.limits, self.accounting, context.clock),
        ]

    @hookimpl
    def register_cost_table(self, context: Context) -> CostTable:
        """Return a file in the state directory, used if no other plugin keeps costs."""
        if self._costs is None:
            self._costs = CostFile(
                context.state_dir / COSTS,
                context.tasks,
                lambda what: context.warn_once("llm costs", what),
            )
        return self._costs

    @hookimpl
    def register_observers(self, context: Context) -> Iterable[Observer]:
        """Return the observer that records the savings of layers."""
        assert self.accounting is not None
        return [Savings(self.accounting, context)]

    @hookimpl
    def register_endpoints(self, config: LlmConfig, context: Context) -> Iterable[Endpoint]:
        """Return the providers' own protocols, for programs that use a gateway."""
        if self._relay is None:
            self._relay = Relay(context, config.max_decoded_bytes)
        self._relay.max_bytes = config.max_decoded_bytes
        return Endpoints(self._providers, self._relay)

    @hookimpl(optionalhook=True)
    def register_voices(self) -> Iterable[Mapping[str, object]]:
        """Return the configured voices."""
        return [
            {"name": name, "operation": f"voice_{name}", "window": True, "weight": weight}
            for name, weight in self._config.voices.items()
        ]

    @hookimpl(optionalhook=True)
    def register_gen_ai_providers(self) -> Mapping[str, str]:
        """Return the names of the providers in metrics; embeddings are not inference."""
        names = {name: one.profile.measured_as for name, one in self._providers.items()}
        return names | dict.fromkeys(self._embedders, "")

    @hookimpl(optionalhook=True)
    def similarity_slots(self) -> Mapping[str, Mapping[str, object]]:
        """Return the slots of opinions' prompts: what may differ in them, and by how much."""
        return dict.fromkeys(opinion_operations(self._config), TOLERANCES)

    @hookimpl
    def register_panels(self, context: Context) -> Iterable[Panel]:
        """Return the panel of what is left of budgets."""
        return [budget_panel(context, lambda: self._config.budgets)]

    @hookimpl
    async def startup(self) -> None:
        """Start fetching newer prices if that is configured, and check the models of budgets.

        Raises:
            PartlyFailed: A budget is for an unknown model.
        """
        await self._follow_prices(self.accounting.more_prices if self.accounting else None)
        self._check_budgets()

    @hookimpl
    async def config_changed(self) -> None:
        """See :meth:`startup`."""
        await self.startup()

    @hookimpl
    async def diagnose(self) -> Iterable[tuple[str, bool, str]]:
        """Report which providers have a key; only a request would show whether it is accepted."""
        faults = {name: provider.fault_of_key() for name, provider in self._providers.items()}
        return [
            (f"upstream {name}", fault is None, fault or "has a key")
            for name, fault in faults.items()
        ]

    @hookimpl
    async def shutdown(self) -> None:
        """Write the costs, close the connections."""
        await self._follow_prices(None)
        if self._costs is not None:
            await self._costs.aclose()
        if self._relay is not None:
            await self._relay.aclose()
        for provider in (*self._providers.values(), *self._retired):
            await provider.aclose()

    def _made_embedders(self, config: LlmConfig, context: Context) -> dict[str, Embedder]:
        assert self.accounting is not None
        made = [
            Embedder(provider, config.profiles[name].embedding_model, context, self.accounting)
            for name, provider in self._providers.items()
            if isinstance(provider, OpenAiProvider) and config.profiles[name].embedding_model
        ]
        return {embedder.name: embedder for embedder in made}

    async def _follow_prices(self, prices: GenaiPrices | None) -> None:
        """Let *prices* fetch newer ones, and stop the previous ones."""
        before, self._followed = self._followed, prices
        if prices is before:
            return
        if prices is not None:
            prices.start()
        if before is not None:
            await asyncio.to_thread(before.stop)  # which waits for what it fetches

    def _check_budgets(self) -> None:
        assert self.accounting is not None
        unknown = self.accounting.budgets.unknown
        if unknown:
            msg = (
                f"[[plugins.llm.budgets]] names {', '.join(map(repr, unknown))}, which the price "
                "table does not know: name a model of it, or a vendor such as 'claude'; until then "
                "the budget is for all models of that vendor, or for all where it has no such one"
            )
            raise PartlyFailed(msg)

    def _replayed(self, plain: object) -> AnswerStream[object]:
        assert self._tasks is not None, "an application that is not open reads no streams"
        return from_plain(plain, self._tasks)


async def _no_count(call: Call, model: str) -> int | None:
    return None  # no provider counts the tokens of a text to embed
