"""Stores that instances share: the contract, the drivers without a server, and values in them.

Also the surface for authors of drivers, and of layers that keep answers.
"""

from argo_mw.base.clock import (
    Clock,
    SystemClock,
    Timer,
)
from argo_mw.base.errors import (
    Closed,
    ConfigError,
    EpochChanged,
    NotEncodable,
    NotShareable,
    SharedUnavailable,
)
from argo_mw.base.secret import (
    Secret,
)
from argo_mw.base.snapshots import (
    Snapshot,
    snapshot,
)
from argo_mw.base.tasks import (
    Tasks,
)
from argo_mw.store.affinity import (
    LoopAffinity,
)
from argo_mw.store.availability import (
    Availability,
)
from argo_mw.store.codec import (
    Codecs,
    EncryptionKeys,
    Envelope,
    Undecodable,
    UndecodableReason,
)
from argo_mw.store.epochs import (
    Epoch,
    Epochs,
)
from argo_mw.store.give_backs import (
    GiveBacks,
    claim,
)
from argo_mw.store.health import (
    Ability,
    StoreHealth,
)
from argo_mw.store.limits import (
    check_count,
    check_items,
    check_key,
    check_keys,
    check_ttl,
    check_value,
)
from argo_mw.store.protocol import (
    EPOCH_KEY,
    WITNESS_TTL,
    Count,
    Lease,
    Shared,
    Subscription,
    Witness,
    Write,
    epoch_key,
    part_of,
)
from argo_mw.store.sqlite_identity import (
    SqliteIdentity,
)
from argo_mw.store.steps import (
    acquire_then_get,
    get_then_acquire,
    settle_in_steps,
)
from argo_mw.store.tag_snapshot import (
    EVERYTHING,
    Freshness,
    TagSnapshot,
)
from argo_mw.store.tag_versions import (
    TagVersions,
)
from argo_mw.store.urls import (
    OpenShared,
    open_shared,
)

__all__ = [
    "EPOCH_KEY",
    "EVERYTHING",
    "WITNESS_TTL",
    "Ability",
    "Availability",
    "Clock",
    "Closed",
    "Codecs",
    "ConfigError",
    "Count",
    "EncryptionKeys",
    "Envelope",
    "Epoch",
    "EpochChanged",
    "Epochs",
    "Freshness",
    "GiveBacks",
    "Lease",
    "LoopAffinity",
    "NotEncodable",
    "NotShareable",
    "OpenShared",
    "Secret",
    "Shared",
    "SharedUnavailable",
    "Snapshot",
    "SqliteIdentity",
    "StoreHealth",
    "Subscription",
    "SystemClock",
    "TagSnapshot",
    "TagVersions",
    "Tasks",
    "Timer",
    "Undecodable",
    "UndecodableReason",
    "Witness",
    "Write",
    "acquire_then_get",
    "check_count",
    "check_items",
    "check_key",
    "check_keys",
    "check_ttl",
    "check_value",
    "claim",
    "epoch_key",
    "get_then_acquire",
    "open_shared",
    "part_of",
    "settle_in_steps",
    "snapshot",
]
