"""The key of a request: what divides requests, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_http import Route
from argo_mw_http.identity import HttpRequest, identity_of, parameter_of

ROUTE = Route("api.example.com", "/v2/{symbol}/bars")
REQUEST = HttpRequest(
    "GET",
    "https",
    "api.example.com",
    443,
    "/v2/AAPL/bars",
    "timeframe=1Day&limit=5",
    headers=(("Accept", "application/json"), ("APCA-API-KEY-ID", "k1")),
)

TEXT = st.text("abAB01-_%&=;:, ", max_size=8)
NAME = st.sampled_from(["accept", "accept-encoding", "x-api-key", "authorization", "x-market", "q"])
HEADERS = st.lists(st.tuples(NAME, TEXT), max_size=4)
REQUESTS = st.builds(
    HttpRequest,
    st.just("GET"),
    st.just("https"),
    st.just("x.example"),
    st.just(443),
    path=st.text("ab/%", max_size=6).map(lambda text: f"/{text}"),
    query=st.lists(st.text("abc=", min_size=1, max_size=4), max_size=4).map("&".join),
    user=st.sampled_from(["", "u:p", "u"]),
    headers=HEADERS,
    body=st.binary(max_size=4),
)


def same(one: HttpRequest, other: HttpRequest, route: Route = ROUTE) -> bool:
    return identity_of(route, one) == identity_of(route, other)


def decided_by(request: HttpRequest) -> Any:
    """Return what decides an answer, in another way than the code under test does it."""
    query = sorted(
        (part.split("=")[0], at, part) for at, part in enumerate(request.query.split("&")) if part
    )
    names = [(name, value.strip()) for name, value in request.headers]
    return (
        request.path,
        request.user,
        [part for _, _, part in query],
        sorted(names, key=lambda one: one[0]),
        request.body,
    )


@given(REQUESTS, REQUESTS)
def test_requests_have_one_key_just_where_all_that_decides_is_equal(
    one: HttpRequest, other: HttpRequest
) -> None:
    assert (decided_by(one) == decided_by(other)) == same(one, other)


@given(REQUESTS, st.permutations(range(4)))
def test_the_order_of_headers_and_parameters_of_different_names_is_no_matter(
    request: HttpRequest, order: list[int]
) -> None:
    headers = list(dict(request.headers).items())
    parameters = list({part.split("=")[0]: part for part in request.query.split("&")}.values())
    one = evolve(request, headers=headers, query="&".join(parameters))
    shuffled = [headers[at] for at in order if at < len(headers)]
    turned = [parameters[at] for at in order if at < len(parameters)]
    other = evolve(request, headers=shuffled, query="&".join(turned))
    assert same(one, other)


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/v2/MSFT/bars"},
        {"path": "/v2/%41APL/bars"},
        {"query": "timeframe=1Day&limit=6"},
        {"query": "timeframe=1Day"},
        {"query": "timeframe=1Day&limit=5&page_token=x"},
        {"query": "timeframe=1+Day&limit=5"},
        {"user": "me:secret"},
        {"body": b"{}"},
        {"headers": (("Accept", "text/csv"), ("APCA-API-KEY-ID", "k1"))},
        {"headers": (("Accept", "application/json"), ("APCA-API-KEY-ID", "k2"))},
        {"headers": (*REQUEST.headers, ("Accept-Encoding", "gzip"))},
        {"headers": (*REQUEST.headers, ("Cookie", "session=1"))},
        {"headers": (*REQUEST.headers, ("X-Market", "eu"))},
        {"headers": (*REQUEST.headers, ("Host", "other.example.com"))},
        {"headers": (*REQUEST.headers, ("Host", "api.example.com:8443"))},
    ],
)
def test_what_may_decide_divides(change: dict[str, Any]) -> None:
    assert not same(REQUEST, evolve(REQUEST, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"query": "limit=5&timeframe=1Day"},
        {"headers": (*REQUEST.headers, ("User-Agent", "x"), ("traceparent", "00-1"))},
        {"headers": (*REQUEST.headers, ("Cookie", "__cf_bm=1; AWSALB=2"))},
        {"headers": (*REQUEST.headers, ("X-Request-ID", "7"))},
        {"headers": (*REQUEST.headers, ("Host", "api.example.com"))},
        {"headers": (*REQUEST.headers, ("Cache-Control", "no-cache"))},
        {"headers": tuple((name.lower(), value) for name, value in REQUEST.headers)},
    ],
)
def test_what_leaves_answers_alone_does_not_divide(change: dict[str, Any]) -> None:
    assert same(REQUEST, evolve(REQUEST, **change))


def test_a_route_may_name_the_parameters_and_headers_that_decide() -> None:
    route = evolve(ROUTE, query=("timeframe",), headers=("X-Market",))
    other = evolve(REQUEST, query="timeframe=1Day&nonce=7")
    assert same(REQUEST, evolve(other, headers=(*REQUEST.headers, ("X-Shape", "1"))), route)
    assert not same(REQUEST, evolve(REQUEST, headers=(*REQUEST.headers, ("X-Market", "eu"))), route)


@pytest.mark.parametrize(
    "change",
    [
        {"query": "timeframe=1Day&apikey=k2"},
        {"query": "timeframe=1Day&signature=s"},
        {"query": "timeframe=1Day&page_token=t"},
        {"headers": (("apca-api-key-id", "k2"),)},
        {"headers": (*REQUEST.headers, ("authorization", "Bearer x"))},
    ],
)
def test_what_says_who_asks_divides_though_a_route_names_other_things(
    change: dict[str, Any],
) -> None:
    route = evolve(ROUTE, query=("timeframe",), headers=())
    assert not same(REQUEST, evolve(REQUEST, **change), route)


def test_a_host_of_its_own_divides_whatever_a_route_says() -> None:
    route = evolve(ROUTE, query=(), headers=(), credentials=())
    hosts = ("Host", "a.example"), ("Host", "b.example")
    one, other = (evolve(REQUEST, headers=(*REQUEST.headers, host)) for host in hosts)
    assert not same(one, other, route)
    assert not same(one, REQUEST, route)


def test_the_order_of_headers_of_one_name_divides_but_that_of_cookies_does_not() -> None:
    one, other = ("X-Forwarded-For", "a"), ("X-Forwarded-For", "b")
    assert not same(evolve(REQUEST, headers=(one, other)), evolve(REQUEST, headers=(other, one)))
    cookies = [evolve(REQUEST, headers=(("cookie", said),)) for said in ("a=1; b=2", "b=2; a=1")]
    assert same(*cookies)


def test_a_route_may_name_the_credential_so_that_signatures_do_not_divide() -> None:
    route = evolve(
        ROUTE, query=("timeframe",), headers=(), credentials=("APCA-API-KEY-ID", "apikey")
    )
    signed = evolve(REQUEST, query="timeframe=1Day&limit=5&signature=1&timestamp=2")
    assert same(signed, evolve(signed, query="timeframe=1Day&signature=3&timestamp=4"), route)
    assert not same(signed, evolve(signed, headers=(("APCA-API-KEY-ID", "k2"),)), route)
    assert not same(signed, evolve(signed, query="timeframe=1Day&apikey=k"), route)


def test_an_empty_list_of_credentials_says_that_the_answer_is_everyones() -> None:
    route = evolve(ROUTE, credentials=())
    other = evolve(
        REQUEST,
        headers=(("Accept", "application/json"), ("APCA-API-KEY-ID", "k2"), ("Cookie", "a=b")),
        user="me:secret",
        query="timeframe=1Day&limit=5&apikey=k2",
    )
    assert same(REQUEST, other, route)
    # What may be the mark of a page still divides.
    assert not same(REQUEST, evolve(REQUEST, query=REQUEST.query + "&page_token=2"), route)


def test_a_key_shows_nothing_of_a_request() -> None:
    shown = identity_of(ROUTE, evolve(REQUEST, user="me:secret"))
    assert 32 == len(shown)
    assert not any(part in shown for part in ("AAPL", "k1", "secret"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("symbols=AAPL%2CMSFT&x=1", "AAPL,MSFT"),
        ("x=1", None),
        ("symbols=", ""),
        ("symbols", ""),
        ("symbols=a&symbols=b", "a"),
        ("symbols=%FF", "\ufffd"),
        ("s%79mbols=a+b", "a b"),
    ],
)
def test_a_parameter_may_be_the_subject(query: str, expected: str | None) -> None:
    assert expected == parameter_of(query, "symbols")
