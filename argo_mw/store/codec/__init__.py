"""Values in shared stores: exact, versioned, bounded, and never pickled."""

from __future__ import annotations

from argo_mw.store.codec.encryption import EncryptionKeys
from argo_mw.store.codec.envelope import Envelope, Undecodable, UndecodableReason
from argo_mw.store.codec.registry import Codecs

__all__ = ["Codecs", "EncryptionKeys", "Envelope", "Undecodable", "UndecodableReason"]
