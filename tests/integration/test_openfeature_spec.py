"""The scenarios of the OpenFeature specification, against the provider.

They are not part of this repository: name a checkout of ``open-feature/spec`` in the environment
variable ``OPENFEATURE_SPEC`` to run them. What they ask for is asked for, in other words, by
``tests/core/test_openfeature.py``, which always runs.
"""

from __future__ import annotations

import copy
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

pytest.importorskip("openfeature")

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagEvaluationOptions
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from openfeature.transaction_context import (
    ContextVarsTransactionContextPropagator,
    set_transaction_context,
    set_transaction_context_propagator,
)

from argo_mw import Argo
from argo_mw.openfeature import ArgoProvider, Variants
from argo_mw.plugin import hookimpl

SPEC = os.environ.get("OPENFEATURE_SPEC", "")
FOLDER = Path(SPEC) / "specification" / "assets" / "gherkin"

PREFIX = "spec."
_ONE_ATTRIBUTE = re.compile(r"(\w+) == '([^']+)' \? '([^']+)' : ''")

NOT_OURS = {
    "CACHED reason": "flags are evaluated in the process, so nothing is cached",
    "Multiple context attributes targeting": "rules of flags know single subjects, no conditions",
}


def scenarios() -> Iterator[Any]:
    """Every scenario of every feature that is not deprecated, its outlines expanded."""
    if not SPEC:
        return
    parser = pytest.importorskip("gherkin.parser").Parser()
    compiler = pytest.importorskip("gherkin.pickles.compiler").Compiler()
    for file in sorted(FOLDER.glob("*.feature")):
        document = parser.parse(file.read_text())
        if any(tag["name"] == "@deprecated" for tag in document["feature"]["tags"]):
            continue
        document["uri"] = file.name
        for number, pickle in enumerate(compiler.compile(document)):
            why = NOT_OURS.get(pickle["name"])
            marks = [pytest.mark.skip(reason=why)] if why else []
            yield pytest.param(pickle, id=f"{file.stem}-{number}-{pickle['name']}", marks=marks)


def flags_in(data: Mapping[str, Any]) -> tuple[dict[str, object], dict[str, Variants]]:
    """The rules and variants that mean what *data*, the flags of the specification, say."""
    rules: dict[str, object] = {}
    variants: dict[str, Variants] = {}
    for name, one in data.items():
        values, default = one["variants"], one.get("defaultVariant")
        other = next(variant for variant in values if variant != default)
        target = _ONE_ATTRIBUTE.fullmatch(one.get("contextEvaluator", ""))
        rule: dict[str, object] = {"state": "off", "killed": bool(one.get("disabled"))}
        if target is not None:
            rule["subjects"] = {target[2]: "off" if target[3] == default else "on"}
        rules[PREFIX + name] = rule
        variants[name] = Variants(
            on=(other, values[other]),
            off=None if default is None else (default, values[default]),
            subject=target[1] if target is not None else "subject",
            metadata=one.get("flagMetadata") or {},
        )
    return rules, variants


class Flags:
    def __init__(self, names: list[str]) -> None:
        self.names = names

    @hookimpl
    def register_flags(self) -> list[str]:
        return self.names


def open_argo(rules: Mapping[str, object]) -> Argo:
    return Argo.open(
        {"argo": {"shared": "memory://"}, "flags": rules},
        plugins={"spec": Flags(list(rules))},
        installed=False,
    )


class Noting(Hook):
    """A hook that notes its stages, and may give a context."""

    def __init__(self, name: str, log: list[tuple[str, str, Any]]) -> None:
        self.name, self.log = name, log
        self.context: EvaluationContext | None = None

    def before(self, hook_context: Any, hints: Any) -> EvaluationContext | None:
        self.log.append((self.name, "before", None))
        return self.context

    def after(self, hook_context: Any, details: Any, hints: Any) -> None:
        self.log.append((self.name, "after", details))

    def error(self, hook_context: Any, exception: Exception, hints: Any) -> None:
        self.log.append((self.name, "error", exception))

    def finally_after(self, hook_context: Any, details: Any, hints: Any) -> None:
        self.log.append((self.name, "finally", details))


class Retrieving(ArgoProvider):
    """The provider, with the context of the last evaluation at hand."""

    seen = EvaluationContext()

    def _resolve(self, name, default, context, *kinds):
        self.seen = context or EvaluationContext()
        return super()._resolve(name, default, context, *kinds)


@define
class World:
    """What the steps of one scenario share."""

    argo: Argo
    variants: dict[str, Variants]
    provider: Retrieving | None = None
    kind: str = ""
    key: str = ""
    default: object = None
    context: dict[str, Any] = field(factory=dict)
    given: dict[str, Any] | None = None
    details: FlagEvaluationDetails[Any] | None = None
    hooks: list[Hook] = field(factory=list)
    log: list[tuple[str, str, Any]] = field(factory=list)
    levels: list[str] = field(factory=list)
    released: threading.Event = field(factory=threading.Event)

    @property
    def client(self) -> Any:
        return api.get_client()

    def use(self, provider: Retrieving) -> None:
        self.provider = provider
        api.set_provider_and_wait(provider)

    def value(self, text: str, kind: str = "") -> Any:
        match (kind or self.kind).lower():
            case "boolean":
                return text.lower() == "true"
            case "integer":
                return int(text)
            case "float":
                return float(text)
            case "object":
                return json.loads(text.replace('\\"', '"'))
            case _:
                return text.replace('\\"', '"')


Step = Callable[..., Any]
STEPS: list[tuple[re.Pattern[str], Step]] = []


def step(pattern: str) -> Callable[[Step], Step]:
    def register(function: Step) -> Step:
        STEPS.append((re.compile(pattern), function))
        return function

    return register


@step(r"a stable provider(?: with retrievable context is registered)?")
async def stable(world: World) -> None:
    world.use(Retrieving(world.argo, world.variants, prefix=PREFIX))


@step(r"a (not ready|error|fatal|stale) provider")
async def troubled(world: World, status: str) -> None:
    match status:
        case "not ready":

            class Waiting(Retrieving):
                def initialize(self, context: EvaluationContext) -> None:
                    world.released.wait(60)

            api.set_provider(Waiting(world.argo, world.variants, prefix=PREFIX))
        case "error":
            with pytest.raises(Exception, match="open the application"):
                world.use(Retrieving(open_argo({}), prefix=PREFIX))
        case "fatal":
            closed = open_argo({})
            provider = Retrieving(closed, prefix=PREFIX)
            async with closed:
                provider.initialize(EvaluationContext())
            with pytest.raises(Exception, match="is closed"):
                world.use(provider)
        case "stale":
            assert world.provider is not None
            world.provider._tell_whether_stale("the store is away")


@step(r'the provider status should be "(\w+)"')
async def has_status(world: World, status: str) -> None:
    assert ProviderStatus[status] == world.client.get_provider_status()


@step(r'a (\w+)-flag with key "([^"]*)" and a fallback value "(.*)"')
async def flag(world: World, kind: str, key: str, default: str) -> None:
    world.kind, world.key = kind, key
    world.default = world.value(default)


@step(r'a context containing a key "(\w+)", with type "(\w+)" and with value "(.*)"')
async def context_entry(world: World, key: str, kind: str, value: str) -> None:
    world.context[key] = world.value(value, kind)


@step(r'a context containing a key "(\w+)" with null value')
async def null_entry(world: World, key: str) -> None:
    world.context[key] = None


@step(r"an evaluation context with modifiable data")
async def modifiable(world: World) -> None:
    world.context["list"] = [1, 2]
    world.given = copy.deepcopy(world.context)


@step(r"evaluation options containing specific hooks")
async def with_hooks(world: World) -> None:
    world.hooks = [Noting(name, world.log) for name in ("first", "second")]


@step(r"a client with added hook")
async def client_hook(world: World) -> None:
    api.add_hooks([Noting("client", world.log)])


@step(r"the flag was evaluated with details(?: using the evaluation options)?")
async def evaluated(world: World) -> None:
    ask = getattr(world.client, f"get_{world.kind.lower()}_details")
    options = FlagEvaluationOptions(hooks=world.hooks)
    context = EvaluationContext(None, world.context)
    world.details = ask(world.key, world.default, context, options)


@step(r"the flag was evaluated with details asynchronously")
async def evaluated_async(world: World) -> None:
    ask = getattr(world.client, f"get_{world.kind.lower()}_details_async")
    world.details = await ask(world.key, world.default)


@step(r"the evaluation should complete without blocking")
async def complete(world: World) -> None:
    assert world.details is not None


@step(r'the resolved details value should be "(.*)"')
async def has_value(world: World, value: str) -> None:
    assert world.details is not None
    assert world.value(value) == world.details.value


@step(r'the (reason|error-code|flag key|variant) should be "(.*)"')
async def has(world: World, what: str, value: str) -> None:
    name = {"error-code": "error_code", "flag key": "flag_key"}.get(what, what)
    found = getattr(world.details, name)
    assert value == (getattr(found, "value", found))


@step(r"the resolved metadata is empty")
async def no_metadata(world: World) -> None:
    assert world.details is not None
    assert {} == world.details.flag_metadata


@step(r"the resolved metadata should contain")
async def has_metadata(world: World, table: list[list[str]]) -> None:
    assert world.details is not None
    for key, kind, value in table[1:]:
        assert world.value(value, kind) == world.details.flag_metadata[key]


@step(r"the specified hooks should execute during evaluation")
async def hooks_ran(world: World) -> None:
    assert {"first", "second"} == {name for name, _, _ in world.log}


@step(r"the hook order should be maintained")
async def hook_order(world: World) -> None:
    order = {stage: [n for n, s, _ in world.log if s == stage] for stage in ("before", "after")}
    assert {"before": ["first", "second"], "after": ["second", "first"]} == order


@step(r"the original evaluation context should remain unmodified")
async def unmodified(world: World) -> None:
    assert world.given == world.context


@step(r"the evaluation details should be immutable")
async def immutable(world: World) -> None:
    """What a reader does to them changes no later evaluation."""
    assert world.details is not None
    before = copy.deepcopy(world.details)
    world.details.value = None
    await evaluated(world)
    assert before == world.details


@step(r'the "([\w, ]+)" hooks? should have been executed')
async def ran(world: World, stages: str) -> None:
    assert set(stages.split(", ")) <= {stage for _, stage, _ in world.log}


@step(r'the "([\w, ]+)" hooks? should be called with evaluation details')
async def called_with(world: World, stages: str, table: list[list[str]]) -> None:
    for stage in stages.split(", "):
        [details] = [d for _, s, d in world.log if s == stage]
        for kind, key, value in table[1:]:
            found = getattr(details, key)
            wanted = None if value == "null" else world.value(value, kind)
            assert wanted == getattr(found, "value", found)


@step(r'A context entry with key "([^"]+)" and value "([^"]+)" is added to the "([^"]+)" level')
async def level_entry(world: World, key: str, value: str, level: str) -> None:
    entry = EvaluationContext(None, {key: value})
    match level:
        case "API":
            api.set_evaluation_context(entry)
        case "Transaction":
            set_transaction_context(entry)
        case "Client":
            world.levels.append(json.dumps({key: value}))
        case "Invocation":
            world.context[key] = value
        case "Before Hooks":
            hook = Noting("hook", world.log)
            hook.context = entry
            world.hooks.append(hook)


@step(r"A table with levels of increasing precedence")
async def level_table(world: World, table: list[list[str]]) -> None:
    world.given = {"levels": [row[0] for row in table]}


@step(
    r'Context entries for each level from API level down to the "([^"]+)" level, with key '
    r'"([^"]+)" and value "([^"]+)"'
)
async def down_to(world: World, last: str, key: str, value: str) -> None:
    assert world.given is not None
    for level in world.given["levels"]:
        await level_entry(world, key, level, level)
        if level == last:
            return


@step(r"Some flag was evaluated")
async def some_flag(world: World) -> None:
    client = world.client
    client.context = EvaluationContext(
        None, {k: v for text in world.levels for k, v in json.loads(text).items()}
    )
    options = FlagEvaluationOptions(hooks=world.hooks)
    client.get_boolean_details(
        "boolean-flag", False, EvaluationContext(None, world.context), options
    )


@step(r'The merged context contains an entry with key "([^"]+)" and value "([^"]+)"')
async def merged(world: World, key: str, value: str) -> None:
    assert world.provider is not None
    assert value == world.provider.seen.attributes[key]


@pytest.fixture(autouse=True)
def own_sdk() -> Iterator[None]:
    set_transaction_context_propagator(ContextVarsTransactionContextPropagator())
    yield
    api.clear_providers()
    api.clear_hooks()
    api.set_evaluation_context(EvaluationContext())
    set_transaction_context(EvaluationContext())


@pytest.mark.skipif(not SPEC, reason="OPENFEATURE_SPEC names no checkout of open-feature/spec")
@pytest.mark.parametrize("scenario", list(scenarios()))
async def test_a_scenario_of_the_specification(
    scenario: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    data = json.loads((FOLDER / "test-flags.json").read_text())
    rules, variants = flags_in(data)
    async with open_argo(rules) as argo:
        world = World(argo, variants)
        try:
            for one in scenario["steps"]:
                await run(world, one)
        finally:
            world.released.set()


async def run(world: World, one: dict[str, Any]) -> None:
    for pattern, function in STEPS:
        found = pattern.fullmatch(one["text"])
        if found is not None:
            table = one.get("argument", {}).get("dataTable")
            rows = (
                [[cell["value"] for cell in row["cells"]] for row in table["rows"]] if table else []
            )
            await function(world, *found.groups(), *([rows] if rows else []))
            return
    pytest.fail(f"no step for {one['text']!r}")
