"""A client gets what it would get without the chain, whatever a service sends."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from argo_mw import Argo
from argo_mw_http import HttpPlugin, transport

from .conftest import BARS, LAYERS, URL, Pieces, Service, config

BYTES = st.binary(max_size=6)
NAMES = st.sampled_from(
    [
        *(
            "age",
            "cache-control",
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
        ),
        *("date", "etag", "expires", "location", "retry-after", "set-cookie", "transfer-encoding"),
        *("vary", "x-more", "X-More", "last-modified", "x-ratelimit-reset"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "text/event-stream", "*"),
            *(
                "application/json",
                "chunked",
                "no-store",
                "max-age=5",
                "0",
                "-1",
                "999999999999",
                "a=b",
            ),
            *('"v"', "user-agent", "x-more", "max-age=", ",", "", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ]
    ),
    st.text('aé\x80 ,;="', max_size=6),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
BODIES = st.one_of(
    st.lists(BYTES, max_size=4),
    BYTES.map(lambda body: [gzip.compress(body)]),
    BYTES.map(lambda body: [zlib.compress(body)]),
    st.just([b'{"error":1}']),
    st.just([b"x" * 700, b"y" * 700]),
)
BREAKS = st.sampled_from(
    [None, None, None, httpx2.ReadError("cut"), httpx2.RemoteProtocolError("cut")]
)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 206, 301, 304, 400, 404, 429, 500, 503, 599])
RESPONSES = st.tuples(STATUS, HEADERS, BODIES, BREAKS)


def answering(response: Any) -> Service:
    status, headers, pieces, error = response
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Service(lambda _: (status, raw, Pieces(*pieces, then=error)))


async def got(http: httpx2.AsyncClient) -> Any:
    """Return what a client gets, or the class of what it raises."""
    try:
        response = await http.get(URL)
    except Exception as error:
        return type(error), str(error)
    return (
        response.status_code,
        response.headers.raw,
        response.content,
        response.http_version,
        response.reason_phrase,
        sorted((one.name, one.value or "") for one in http.cookies.jar),
    )


async def compared(response: Any, route: dict[str, object]) -> tuple[Any, Any]:
    service, alone = answering(response), answering(response)
    argo: Argo = Argo.open(
        config(route, max_bytes=1000), plugins={"http": HttpPlugin, **LAYERS}, installed=False
    )
    async with argo, httpx2.AsyncClient(transport=transport(argo, inner=service)) as http:
        with_it = await got(http)
        again = await got(http)
        both = await asyncio.gather(got(http), got(http))
    async with httpx2.AsyncClient(transport=alone) as http:
        without = await got(http)
        # Asked again too: a cookie that it was given may keep a client from asking at all.
        without_again = await got(http)
    assert all(body.closed for body in service.bodies)
    for one in (again, *both):
        check(without_again, one)
    return without, with_it


def check(without: Any, later: Any) -> None:
    """Check what later callers get: the same status and content, and the headers that are theirs."""
    assert (without[0], without[2:3]) == (later[0], later[2:3])


ROUTES = [
    BARS,
    {**BARS, "cache_control": True},
    {**BARS, "errors": ["/error"], "status": [200, 404]},
]


@pytest.mark.parametrize("route", ROUTES, ids=["plain", "cache_control", "errors"])
@given(response=RESPONSES)
@example(response=(200, [("set-cookie", "\x80")], [b'{"error":1}'], None))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_client_gets_what_it_would_get_without_the_chain(
    route: dict[str, object], response: Any
) -> None:
    without, with_it = asyncio.run(compared(response, route))
    assert without == with_it
