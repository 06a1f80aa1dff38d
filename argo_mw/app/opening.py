"""Opening: what an application stands on: settings, state directory, shared store, context."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import quote

from argo_mw.app.engine import Engine
from argo_mw.base.clock import Clock
from argo_mw.base.errors import ConfigError
from argo_mw.base.memory_shares import MemoryShares
from argo_mw.chain.context import Context
from argo_mw.chain.cost_sharing import SharedTotals
from argo_mw.config import Secret, Settings, load, parse
from argo_mw.counters.published import Counters
from argo_mw.flags.fleet_file import FleetFile
from argo_mw.flags.fleet_follower import FleetFollower
from argo_mw.flags.fleet_store import FleetStore
from argo_mw.model.outcome import Attempt, Cost, Note, Outcome
from argo_mw.registry import Plugins
from argo_mw.store.codec import Codecs, EncryptionKeys, Envelope, Undecodable
from argo_mw.store.epochs import Epochs
from argo_mw.store.protocol import Shared
from argo_mw.store.tag_versions import TagVersions
from argo_mw.store.urls import BUILT_IN, OpenShared, open_shared

_SINGLE_PROCESS = "memory://"
_MAX_TAGS = 100_000
_TAGS_SHARE = 0.1
TAG_BYTES = 1_000
"""Bytes that a mirrored tag takes at most, with what a store in this process keeps of it."""


def read_settings(
    config: str | Path | Mapping[str, object] | Settings | None, *, home: Path | None = None
) -> Settings:
    """Return the settings that *config* is, holds or names.

    Args:
        config: The settings, a table of them, or the file that they are in.
        home: The directory that a relative ``state_dir`` is in; by default the working directory.

    Raises:
        ConfigError: It cannot be used.
    """
    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        return parse(config, home=home)
    return load(config, home=home)


async def open_context(
    settings: Settings, plugins: Plugins, engine: Engine, state_dir: Path
) -> Context:
    """Open the shared store and return the context that plugins are given.

    Raises:
        ConfigError: The store's URL cannot be used.
    """
    codecs = _codecs(settings)
    plugins.collect("register_codecs", codecs=codecs)
    url = _shared_url(settings, state_dir)
    shared = await _open_shared(url, settings, engine.clock, _drivers(plugins))
    single_process = settings.argo.shared.reveal() == _SINGLE_PROCESS
    if not single_process:
        engine.costs.share(SharedTotals(shared, codecs, engine.clock, engine.tasks))
    counters = engine.counters = Counters(
        shared, codecs, engine.clock, engine.tasks, every=settings.argo.counters_every
    )
    memory = MemoryShares(settings.argo.memory)
    context = Context(
        clock=engine.clock,
        shared=shared,
        tag_versions=TagVersions(
            shared,
            engine.clock,
            max_tags=memory.items_within(_TAGS_SHARE, TAG_BYTES, _MAX_TAGS),
        ),
        codecs=codecs,
        events=engine.events,
        tasks=engine.tasks,
        state_dir=state_dir,
        runtime=engine,
        single_process=single_process,
        epochs=Epochs(shared, engine.clock, url=url, state_dir=state_dir),
        counters=counters,
        memory=memory,
    )

    def refused(why: Undecodable) -> None:
        what = f"{why.reason.value}: {why.detail}".rstrip(": ")
        context.warn_once("kept values", f"some count as missing, since they are refused ({what})")

    codecs.on_refused = refused
    return context


def follow_fleet(
    settings: Settings, context: Context, take_up: Callable[[], Awaitable[None]]
) -> FleetFollower | None:
    """Return what follows the flags of the fleet, for an application with *settings*.

    ``None`` where the store is shared with nobody.
    """
    if context.single_process:
        return None
    return FleetFollower(
        FleetStore(context.shared, context.codecs, context.clock),
        FleetFile(context.state_dir, _shared_url(settings, context.state_dir)),
        context.clock,
        context.tasks,
        take_up=take_up,
        report=partial(context.warn_once, "flags of the fleet"),
    )


def _codecs(settings: Settings) -> Codecs:
    codecs = Codecs(
        Envelope(
            max_bytes=settings.argo.max_decoded_bytes,
            key=_signing(settings.argo.signing_key),
            encryption=_encryption(settings.argo.encryption_key),
        )
    )
    for kind in (Outcome, Attempt, Cost, Note):
        codecs.register_fields(kind, f"argo.{kind.__name__.lower()}")
    return codecs


def _signing(key: Secret | None) -> bytes | None:
    if key is None:
        return None
    if not key:
        msg = "[argo] signing_key is empty; set it, or remove it to sign nothing"
        raise ConfigError(msg)
    return key.reveal().encode()


def _encryption(keys: tuple[Secret, ...]) -> EncryptionKeys | None:
    if not keys:
        return None
    if not all(keys):
        msg = "[argo] encryption_key is empty; set it, or remove it to encrypt nothing"
        raise ConfigError(msg)
    return EncryptionKeys(keys)


async def _open_shared(
    url: str, settings: Settings, clock: Clock, drivers: Mapping[str, OpenShared]
) -> Shared:
    try:
        return await open_shared(url, clock=clock, drivers=drivers)
    except ConfigError as error:
        msg = f"{settings.source} [argo] shared: {error}"
        raise ConfigError(msg) from None


def _shared_url(settings: Settings, state_dir: Path) -> str:
    url = settings.argo.shared.reveal()
    return f"sqlite:///{quote(str(state_dir / 'shared.db'))}" if url == "sqlite" else url


def _drivers(plugins: Plugins) -> dict[str, OpenShared]:
    """Return the drivers of stores that *plugins* bring, by scheme.

    Raises:
        ConfigError: Two of them have one scheme: values, quotas and budgets would go to the first.
    """
    drivers: dict[str, OpenShared] = {}
    owners = dict.fromkeys(BUILT_IN, "argo-mw itself")
    for plugin, answer in plugins.collect("register_shared_drivers").items():
        for scheme, driver in cast("Mapping[str, OpenShared]", answer).items():
            if scheme in owners and drivers.get(scheme) is not driver:
                msg = (
                    f"plugin {plugin!r} brings a driver for {scheme}://, which is that of "
                    f"{owners[scheme]}; name one of the plugins under block in [argo]"
                )
                raise ConfigError(msg)
            owners[scheme] = f"plugin {plugin!r}"
            drivers[scheme] = driver
    return drivers
