"""Changes by ``POST /__admin``: faults, latencies, quotas, time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import cattrs
from attrs import Factory, frozen
from cattrs.errors import BaseValidationError

from argo_mw_sandbox.clock import parse_instant
from argo_mw_sandbox.faults import Fault
from argo_mw_sandbox.latency import Latency
from argo_mw_sandbox.quotas import Quota


@frozen(kw_only=True)
class Change:
    """An admin request. What it leaves out stays as it is.

    Attributes:
        clear_faults: Vendors whose faults are disarmed first; ``all`` for all of them.
        faults: Faults to arm, by vendor.
        latency: New response times, by vendor.
        quotas: New limits, by vendor; what was used of the old ones is forgotten.
        now: Where to move the replay to.
        speed: Replayed seconds per real second.
        reset_counts: Whether to set the counts back to zero.
    """

    clear_faults: tuple[str, ...] = ()
    faults: Mapping[str, tuple[Fault, ...]] = Factory(dict)
    latency: Mapping[str, Latency] = Factory(dict)
    quotas: Mapping[str, Quota] = Factory(dict)
    now: datetime | None = None
    speed: float | None = None
    reset_counts: bool = False


def converter() -> cattrs.Converter:
    """Return a converter of settings to plain data and back; unknown names are errors."""
    made = cattrs.Converter(forbid_extra_keys=True)
    made.register_structure_hook(datetime, lambda text, _: parse_instant(str(text)))
    made.register_unstructure_hook(datetime, lambda value: value.isoformat())
    return made


_CONVERTER = converter()


def read_change(body: bytes) -> Change:
    """Read an admin request.

    Raises:
        ValueError: It is not JSON, or names something that does not exist.
    """
    try:
        content = json.loads(body)
        if not isinstance(content, dict):
            msg = "it is not a JSON object"
            raise TypeError(msg)
        return _CONVERTER.structure(content, Change)
    except BaseValidationError as error:
        details = "; ".join(cattrs.transform_error(error, format_exception=_explain))
    except (TypeError, ValueError) as error:
        details = str(error)
    msg = f"cannot read the admin request: {details}"
    raise ValueError(msg)


def _explain(error: BaseException, kind: type | None) -> str:
    if type(error) is ValueError:
        return str(error)
    return cattrs.v.format_exception(error, kind)


def write_change(change: Change) -> bytes:
    """Write an admin request."""
    return json.dumps(_CONVERTER.unstructure(change)).encode()
