"""The flags through the SDK of OpenFeature, in its words.

These are the properties that the specification's own scenarios ask for, in ours; those themselves run
in ``tests/integration/test_openfeature_spec.py`` against a checkout of the specification.
"""

# ruff: noqa: F811 - fixtures of another module are named as parameters
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest

pytest.importorskip("openfeature")

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from argo_mw import Argo
from argo_mw.flags.fleet_follower import UNHEARD_INTERVAL
from argo_mw.openfeature import ArgoProvider, Variants
from argo_mw.plugin import flags_of, hookimpl
from argo_mw.store import Ability
from argo_mw.testing import FakeClock

from .fleet import Machine, Store, machine, store  # noqa: F401 - fixtures

FLAGS: Mapping[str, object] = {
    "shop.plain": "on",
    "shop.zero": "off",
    "shop.watched": "off",
    "shop.some": {"state": "off", "subjects": {"TSLA": "on", "F": "off"}},
    "shop.half": "50%",
    "shop.tenants": "50% by tenant",
    "shop.keys": "50% by key",
    "shop.everybody": "100%",
    "shop.nobody": "0%",
    "shop.keyed": {"percent": 50, "by": "key", "subjects": {"TSLA": "on"}},
    "shop.gone": {"state": "on", "killed": True},
    "shop.back": {"state": "on", "rolled_back": "p99"},
    "shop.text": "on",
    "shop.whole": "on",
    "shop.number": "on",
    "shop.object": "off",
    "shop.text_gone": {"state": "on", "killed": True},
    "shop.unset": "off",
    "shop.mail": {"state": "off", "subjects": {"a@b.c": "on"}},
}
VARIANTS = {
    "text": Variants(("greeting", "hi"), ("parting", "bye"), metadata={"owner": "shop"}),
    "text_gone": Variants(("greeting", "hi"), ("parting", "bye")),
    "whole": Variants(("ten", 10), ("one", 1)),
    "number": Variants(("half", 0.5), ("tenth", 0.1)),
    "object": Variants(("template", {"a": [1]}), ("empty", {})),
    "unset": Variants(("big", 1000), None),
    "mail": Variants(subject="email"),
}


class Shop:
    @hookimpl
    def register_flags(self) -> list[str]:
        return list(FLAGS)


@pytest.fixture(autouse=True)
def own_sdk() -> Iterator[None]:
    yield
    api.clear_providers()
    api.clear_hooks()


@pytest.fixture
async def argo(open_argo: Callable[..., Argo]):
    async with open_argo(plugins={"shop": Shop()}, config={"flags": FLAGS}) as argo:
        api.set_provider_and_wait(ArgoProvider(argo, VARIANTS, prefix="shop."))
        yield argo


@pytest.fixture
def client(argo: Argo) -> OpenFeatureClient:
    return api.get_client()


def asked_by(key: str | None = None, **attributes: object) -> EvaluationContext:
    return EvaluationContext(key, attributes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "context", "value", "variant", "reason"),
    [
        ("plain", None, True, "on", Reason.STATIC),
        ("zero", None, False, "off", Reason.STATIC),
        ("some", asked_by("TSLA"), True, "on", Reason.TARGETING_MATCH),
        ("some", asked_by("F"), False, "off", Reason.TARGETING_MATCH),
        ("some", asked_by("AAPL"), False, "off", Reason.DEFAULT),
        ("some", asked_by("AAPL", subject="TSLA"), True, "on", Reason.TARGETING_MATCH),
        ("some", asked_by("AAPL", subject=None), False, "off", Reason.DEFAULT),
        ("some", None, False, "off", Reason.DEFAULT),
        ("mail", asked_by("AAPL", email="a@b.c"), True, "on", Reason.TARGETING_MATCH),
        ("mail", asked_by("a@b.c"), False, "off", Reason.DEFAULT),
        ("everybody", None, True, "on", Reason.SPLIT),
        ("nobody", None, False, "off", Reason.SPLIT),
        ("keyed", asked_by(subject="TSLA"), True, "on", Reason.TARGETING_MATCH),
        ("gone", None, False, None, Reason.DISABLED),
        ("back", asked_by("TSLA"), False, None, Reason.DISABLED),
    ],
)
def test_a_switch_is_resolved_with_its_variant_and_reason(
    client: OpenFeatureClient,
    name: str,
    context: EvaluationContext | None,
    value: bool,
    variant: str | None,
    reason: Reason,
) -> None:
    found = client.get_boolean_details(name, not value, context)
    assert (value, reason, None) == (found.value, found.reason, found.error_code)
    assert variant in (None, found.variant)


@pytest.mark.parametrize("name", ["half", "tenants", "keys"])
def test_a_share_is_split_as_in_the_chain(client: OpenFeatureClient, argo: Argo, name: str) -> None:
    flag = flags_of(argo).all[f"shop.{name}"]
    arms = set()
    for number in range(50):
        unit = f"U{number}"
        found = client.get_boolean_details(name, False, asked_by(unit, tenant=unit))
        asker = type("Asked", (), {"subject": unit, "tenant": unit, "key": unit})()
        assert flag.decide(asker).on == found.value
        assert Reason.SPLIT == found.reason
        arms.add(found.flag_metadata["arm"])
    assert {"treatment", "control"} == arms


def test_a_share_needs_somebody_to_take_it_of(client: OpenFeatureClient) -> None:
    for name in ("half", "keys"):
        found = client.get_boolean_details(name, True)
        assert (True, Reason.ERROR) == (found.value, found.reason)
        assert ErrorCode.TARGETING_KEY_MISSING == found.error_code
    # Without a tenant, it is the one that is configured.
    assert Reason.SPLIT == client.get_boolean_details("tenants", True).reason
    found = client.get_boolean_details("tenants", True, asked_by(tenant=3))
    assert ErrorCode.INVALID_CONTEXT == found.error_code


def test_values_have_the_type_that_is_asked_for(client: OpenFeatureClient) -> None:
    assert "hi" == client.get_string_value("text", "bye")
    assert 10 == client.get_integer_value("whole", 1)
    assert 0.5 == client.get_float_value("number", 0.1)
    assert {} == client.get_object_value("object", {"b": 1})
    found = client.get_string_details("text", "bye")
    assert ("greeting", {"owner": "shop"}) == (found.variant, found.flag_metadata)
    assert {} == client.get_boolean_details("plain", False).flag_metadata


@pytest.mark.parametrize(
    ("ask", "name", "default"),
    [
        ("get_boolean_details", "text", False),
        ("get_string_details", "plain", "bye"),
        ("get_integer_details", "plain", 1),
        ("get_integer_details", "number", 1),
        ("get_float_details", "plain", 0.1),
        ("get_float_details", "text", 0.1),
        ("get_object_details", "text", {}),
        ("get_object_details", "plain", {}),
    ],
)
def test_another_type_is_an_error_and_the_default(
    client: OpenFeatureClient, ask: str, name: str, default: object
) -> None:
    found = getattr(client, ask)(name, default)
    assert (default, Reason.ERROR) == (found.value, found.reason)
    assert ErrorCode.TYPE_MISMATCH == found.error_code


def test_a_flag_that_does_not_exist_is_an_error_and_the_default(
    client: OpenFeatureClient,
) -> None:
    found = client.get_string_details("nothing", "uh-oh")
    assert ("uh-oh", Reason.ERROR) == (found.value, found.reason)
    assert ErrorCode.FLAG_NOT_FOUND == found.error_code


def test_what_is_held_off_or_has_no_off_variant_is_the_default(
    client: OpenFeatureClient,
) -> None:
    found = client.get_string_details("text_gone", "mine")
    assert ("mine", None, Reason.DISABLED) == (found.value, found.variant, found.reason)
    assert 7 == client.get_integer_value("unset", 7)


async def test_it_answers_in_coroutines_and_in_other_threads(client: OpenFeatureClient) -> None:
    assert await client.get_boolean_value_async("plain", False)
    assert await asyncio.to_thread(client.get_boolean_value, "plain", False)


async def test_a_change_is_told_with_the_names_of_the_flags(
    client: OpenFeatureClient, argo: Argo
) -> None:
    told: list[object] = []
    client.add_handler(
        ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda event: told.append(event.flags_changed)
    )
    await flags_of(argo).kill("shop.plain")
    await argo.reload()
    assert not client.get_boolean_value("plain", True)
    await asyncio.to_thread(lambda: None)
    assert ["plain"] in told


async def test_it_is_not_ready_before_the_application_and_fatal_after_it(
    open_argo: Callable[..., Argo],
) -> None:
    argo = open_argo(plugins={"shop": Shop()})
    provider = ArgoProvider(argo, prefix="shop.")
    with pytest.raises(Exception, match="open the application"):
        api.set_provider_and_wait(provider)
    client = api.get_client()
    assert ProviderStatus.ERROR == client.get_provider_status()
    found = client.get_boolean_details("plain", True)
    assert (True, ErrorCode.PROVIDER_NOT_READY) == (found.value, found.error_code)
    async with argo:
        api.clear_providers()
        api.set_provider_and_wait(provider)
        assert ProviderStatus.READY == client.get_provider_status()
    found = client.get_boolean_details("plain", True)
    assert (True, ErrorCode.PROVIDER_FATAL) == (found.value, found.error_code)
    with pytest.raises(Exception, match="is closed"):
        provider.initialize(asked_by())


async def test_what_the_fleet_has_set_is_stale_while_the_store_is_away(
    clock: FakeClock,
    machine: Machine,
    store: Store,
) -> None:
    async with machine("a") as a:
        await flags_of(a).set("cache", "off", fleet=True)
    store.refuse(*Ability)
    async with machine("a") as a:
        api.set_provider_and_wait(ArgoProvider(a))
        client = api.get_client()
        assert Reason.STALE == client.get_boolean_details("cache", True).reason
        assert Reason.STATIC == client.get_boolean_details("needs", True).reason
        assert ProviderStatus.STALE == client.get_provider_status()
        store.refuse()
        await clock.advance(2 * UNHEARD_INTERVAL)
        assert Reason.STATIC == client.get_boolean_details("cache", True).reason
        assert ProviderStatus.READY == client.get_provider_status()
