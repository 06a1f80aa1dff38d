"""Clients with the chain in between, for a type checker to read: it is checked, never run."""

from __future__ import annotations

from typing import assert_type

import httpx
import httpx2

from argo_mw import Argo, BlockingArgo
from argo_mw_http import httpx_transport, transport


def put_the_chain_into(argo: Argo, blocking: BlockingArgo) -> None:
    assert_type(transport(argo, tenant="desk"), httpx2.AsyncBaseTransport)
    assert_type(transport(blocking), httpx2.BaseTransport)
    assert_type(httpx_transport(argo), httpx.AsyncBaseTransport)
    assert_type(httpx_transport(blocking, inner=httpx.HTTPTransport()), httpx.BaseTransport)
    httpx2.AsyncClient(transport=transport(argo))
    httpx.Client(transport=httpx_transport(blocking))
    transport(argo, inner=httpx2.HTTPTransport())  # type: ignore[call-overload]
