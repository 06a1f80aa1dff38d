"""Patterns of paths, and which route a request belongs to."""

from __future__ import annotations

import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import ConfigError
from argo_mw.plugin import structure
from argo_mw_http import HttpConfig
from argo_mw_http.patterns import MAX_PATH, PathPattern

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


def routes(*tables: dict[str, object]) -> HttpConfig:
    return structure({"routes": list(tables)}, HttpConfig, where="argo.toml [plugins.http]")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/", "/", {}),
        ("/v1", "/v1", {}),
        ("/v1", "/v1/", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/AAPL/bars", {"symbol": "AAPL"}),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/BRK%2FB/bars", {"symbol": "BRK/B"}),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks//bars", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/AAPL/bars/latest", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/../bars", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/%2e%2E/bars", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/..%2F..%2Faccount/bars", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/A%5c%2e%2e%5cB/bars", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/..;a=b/bars", None),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/BRK..B%2F.C/bars", {"symbol": "BRK..B/.C"}),
        ("/v2/stocks/{symbol}/bars", "/v2/stocks/%FF/bars", None),
        ("/v2/stocks/{symbol}/bars", "/V2/stocks/AAPL/bars", None),
        ("/{symbol}.json", "/AAPL.json", {"symbol": "AAPL"}),
        ("/{symbol}.json", "/.json", None),
        ("/{symbol}.json", "/A.json.json", {"symbol": "A.json"}),
        ("/t-{id}-x", "/t-x", None),
        ("/t-{id}-x", "/t-7-x", {"id": "7"}),
        ("/files/{rest:path}", "/files/a/b%20c", {"rest": "a/b c"}),
        ("/files/{rest:path}", "/files", None),
        ("/files/{rest:path}", "/files/a/../b", None),
        ("/files/{rest:path}", "/files/a/b%2F../c", None),
        ("/{a}/{b}", "/x/y", {"a": "x", "b": "y"}),
    ],
)
def test_a_pattern_matches_segment_by_segment(
    pattern: str, path: str, expected: dict[str, str] | None
) -> None:
    assert expected == PathPattern(pattern).match(path)


@given(st.lists(TEXT, min_size=1, max_size=6), st.data())
def test_what_was_put_into_a_path_is_found_in_it(texts: list[str], data: st.DataObject) -> None:
    named = data.draw(st.sets(st.integers(0, len(texts) - 1)))
    texts = [text if at in named else _as_written(text) for at, text in enumerate(texts)]
    fixed = [quote(text, safe="") for text in texts]
    pattern = "/" + "/".join(f"{{p{at}}}" if at in named else text for at, text in enumerate(texts))
    path = "/" + "/".join(fixed)
    relative = any(re.search(r"(^|[/\\])\.\.?($|[/\\;])", text) for text in texts)
    expected = None if relative else {f"p{at}": texts[at] for at in sorted(named)}
    assert expected == PathPattern(pattern).match(path)


def _as_written(text: str) -> str:
    return "".join("x" if one in "{}/?#" else one for one in text)


@given(st.text(max_size=60), st.text("/%{}.ab:", max_size=60))
def test_any_pattern_is_one_or_is_refused_and_any_path_is_answered(path: str, text: str) -> None:
    try:
        pattern = PathPattern(text)
    except ValueError:
        return
    found = pattern.match(path)
    assert found is None or set(pattern.names) == set(found)


def test_matching_takes_time_by_the_length_of_a_path_alone() -> None:
    pattern = PathPattern("/a{b}a/{rest:path}")
    started = time.thread_time()
    for path in ("/" + "a" * (MAX_PATH - 1), "/aaa" + "/a" * 4000, "/" + "%61" * 2700):
        for _ in range(20):
            pattern.match(path)
    assert time.thread_time() - started < 2.0
    assert pattern.match("/aba/" + "c" * MAX_PATH) is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": "v1"}, "begin it with a slash"),
        ({"path": "/v1?a=b"}, "leave out any query"),
        ({"path": "/{}"}, "part without a name"),
        ({"path": "/{a"}, "part without a name"),
        ({"path": "/a}"}, "a brace that is not opened"),
        ({"path": "/{a}-{b}"}, "two named parts in one segment"),
        ({"path": "/{a}/{a}"}, "two parts of one name"),
        ({"path": "/{a:path}/b"}, "only be the last"),
        ({"path": "/{identity}"}, "give it another name"),
        ({"path": "/{a}", "host": "https://x.example"}, "without scheme and path"),
        ({"path": "/{a}", "host": "x.example:http"}, "without scheme and path"),
        ({"path": "/{a}", "subject": "b", "query": ["c"]}, "neither a part of the path"),
        ({"path": "/{token}", "subject": "token"}, "a subject is shown"),
        ({"path": "/a", "subject": "apikey"}, "a subject is shown"),
        ({"path": "/a", "errors": ["error"]}, "begins with a slash"),
        ({"path": "/a", "status": [20]}, "name statuses such as 200"),
        ({"path": "/a", "name": "a b"}, "write letters"),
        ({"path": "/a", "mehtod": "GET"}, "did you mean 'method'?"),
        ({"path": "/a", "method": "get"}, "expected one of"),
        ({"path": "/a", "ttl": 0}, "'ttl' must be > 0"),
    ],
)
def test_a_route_that_cannot_be_says_why(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        routes({"host": "x.example", **table})
    assert message in str(caught.value)


def test_a_subject_that_looks_like_a_credential_is_one_unless_the_route_says_which_are() -> None:
    table = {"host": "x.example", "path": "/{token}", "subject": "token"}
    (route,) = routes({**table, "credentials": ["X-API-Key"]}).routes
    assert "token" == route.subject


def test_a_route_that_is_never_reached_is_an_error() -> None:
    one = {"host": "x.example", "path": "/v1/{a}"}
    with pytest.raises(ConfigError, match="never reached"):
        routes(one, {**one, "path": "/v1/{b}", "name": "other"})
    with pytest.raises(ConfigError, match="two routes are called 'same'"):
        routes({**one, "name": "same"}, {**one, "path": "/v2", "name": "same"})
    assert 2 == len(routes({**one, "host": "x.example:81"}, one).routes)


@pytest.mark.parametrize(
    ("host", "asked", "port", "expected"),
    [
        ("api.example.com", "api.example.com", 443, True),
        ("api.example.com", "api.example.com", 8080, True),
        ("API.Example.com", "api.example.com", 443, True),
        ("api.example.com:8080", "api.example.com", 443, False),
        ("api.example.com:8080", "api.example.com", 8080, True),
        ("api.example.com", "api.example.com.evil", 443, False),
        ("[::1]:80", "::1", 80, True),
        ("bücher.example", "xn--bcher-kva.example", 443, True),
    ],
)
def test_a_host_is_compared_whole(host: str, asked: str, port: int, expected: bool) -> None:
    table = routes({"host": host, "path": "/{a}"}).table
    assert expected is (table.match("GET", asked, port, "/b") is not None)


def test_the_first_route_that_matches_has_a_request() -> None:
    table = routes(
        {"host": "x.example", "path": "/v1/latest", "name": "latest"},
        {"host": "x.example", "path": "/v1/{a}", "name": "one"},
        {"host": "x.example", "path": "/{rest:path}", "name": "rest"},
    ).table
    found = [table.match("GET", "x.example", 443, path) for path in ("/v1/latest", "/v1/b", "/c/d")]
    assert ["latest", "one", "rest"] == [match.route.operation for match in found if match]
    assert table.match("POST", "x.example", 443, "/v1/b") is None


def test_routes_have_names_of_their_own_without_being_named() -> None:
    config = routes(
        {"host": "data.example:8080", "path": "/v2/{symbol}/bars"},
        {"host": "data.example:8080", "path": "/v2/{symbol}/bars", "method": "HEAD"},
    )
    expected = [
        "http_data_example_8080_v2_symbol_bars",
        "http_data_example_8080_v2_symbol_bars_head",
    ]
    assert expected == [route.operation for route in config.routes]
    assert ["http_data_example_8080"] == list(config.by_api)
