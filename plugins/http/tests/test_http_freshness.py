"""What headers say of an answer's life, and what a body says of itself."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_http import HttpAnswer
from argo_mw_http.freshness import Life, directives_of, life_of
from argo_mw_http.judge import Unreadable, _decompressed, at, error_in

NOW = 1_700_000_000.0
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


def life(*headers: tuple[str, str], public: bool = False) -> Life:
    return life_of(HttpAnswer(200, headers, b""), NOW, public=public)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([("cache-control", "max-age=60")], 60.0),
        ([("Cache-Control", "Public, Max-Age=60")], 60.0),
        ([("cache-control", 'max-age="60"')], 60.0),
        ([("cache-control", "max-age=60"), ("age", "45")], 15.0),
        ([("cache-control", "max-age=60"), ("age", "90")], 0.0),
        ([("cache-control", "max-age=60"), ("date", "Tue, 14 Nov 2023 22:12:50 GMT")], 30.0),
        ([("cache-control", "max-age=60, max-age=30")], 30.0),
        ([("cache-control", "max-age=sixty")], 0.0),
        ([("cache-control", "max-age=-1")], 0.0),
        ([("cache-control", "max-age=99999999999999999999999")], 315_360_000.0),
        ([("cache-control", "no-cache, max-age=60")], 0.0),
        ([("cache-control", "s-maxage=5, max-age=60")], 60.0),
        ([("cache-control", "max-age=60"), ("expires", "0")], 60.0),
        ([("expires", "Tue, 14 Nov 2023 22:14:20 GMT"), ("date", DATE)], 60.0),
        ([("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], 60.0),
        ([("expires", "0")], 0.0),
        ([("expires", "Tue, 99 Nov 2023 99:14:20 GMT")], 0.0),
        ([("cache-control", "public"), ("last-modified", DATE)], None),
    ],
)
def test_headers_cap_a_life(headers: list[tuple[str, str]], seconds: float | None) -> None:
    found = life(*headers)
    assert found.kept
    assert seconds == found.seconds


@pytest.mark.parametrize(
    ("said", "public", "kept"),
    [
        ("no-store", False, False),
        ("max-age=60, no-store", True, False),
        ("private", False, True),
        ("private", True, False),
        ("max-age=60, private", True, False),
        ('private="set-cookie", max-age=60', True, False),
        ("x" * 5000, False, False),
    ],
)
def test_headers_keep_an_answer_from_being_kept(said: str, public: bool, kept: bool) -> None:
    assert kept is life(("cache-control", said), public=public).kept


def test_a_shared_cache_has_a_life_of_its_own() -> None:
    said = ("cache-control", "s-maxage=5, max-age=60")
    assert 5.0 == life(said, public=True).seconds


@given(st.text(max_size=80))
def test_any_cache_control_is_read(said: str) -> None:
    assert isinstance(dict(directives_of(said)), dict)
    assert life(("cache-control", said)).seconds in (None, 0.0) or "age" in said.lower()


# -- errors in bodies --------------------------------------------------------------------------


def answer(body: bytes, *encodings: str) -> HttpAnswer:
    headers = (("content-encoding", ", ".join(encodings)),) if encodings else ()
    return HttpAnswer(200, headers, body)


@pytest.mark.parametrize(
    ("document", "pointer", "expected"),
    [
        ({"error": "no"}, "/error", True),
        ({"error": {"code": 1}}, "/error", True),
        ({"error": None}, "/error", False),
        ({"error": []}, "/error", False),
        ({"error": ""}, "/error", False),
        ({"error": 0}, "/error", False),
        ({"error": False}, "/error", False),
        ({}, "/error", False),
        ([], "/error", False),
        ("text", "/error", False),
        ({"chart": {"error": {"code": "x"}}}, "/chart/error", True),
        ({"chart": {"error": None}}, "/chart/error", False),
        ([{"error": 1}], "/0/error", True),
        ([{"error": 1}], "/1/error", False),
        ([{"error": 1}], "/99999999999999999999/error", False),
        ({"Error Message": "x"}, "/Error Message", True),
        ({"a/b": {"m~n": 1}}, "/a~1b/m~0n", True),
        ({"": 1}, "/", True),
    ],
)
async def test_a_pointer_shows_an_error(document: Any, pointer: str, expected: bool) -> None:
    body = json.dumps(document).encode()
    assert (pointer if expected else None) == await error_in(answer(body), (pointer,))


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
        ("zstd", zstandard.compress),
        ("identity", lambda body: body),
        ("gzip, zstd", lambda body: zstandard.compress(gzip.compress(body))),
        ("gzip", lambda body: gzip.compress(body[:4]) + gzip.compress(body[4:])),
    ],
)
async def test_errors_are_found_in_compressed_bodies(encoding: str, compress: Any) -> None:
    body = compress(json.dumps({"error": "no", "more": "x" * 100_000}).encode())
    assert "/error" == await error_in(answer(body, encoding), ("/missing", "/error"))


@pytest.mark.parametrize(
    ("body", "encodings", "why"),
    [
        (b"<html>", (), "is not JSON"),
        (b"\xff", (), "is not JSON"),
        (b"[" * 100_000, (), "is not JSON"),
        (b"{}", ("br",), "is compressed by 'br'"),
        (b"{}", ("gzip",), "is damaged"),
        (gzip.compress(b"{}", mtime=0)[:-4], ("gzip",), "is damaged"),
        (b"{}", ("zstd",), "is damaged"),
        (b"{}", ("deflate",), "is damaged"),
        (gzip.compress(b"0" * 70_000_000, mtime=0), ("gzip",), "has more than"),
        (zstandard.compress(b"0" * 70_000_000), ("zstd",), "has more than"),
    ],
)
async def test_a_body_that_cannot_be_looked_into_says_why(
    body: bytes, encodings: tuple[str, ...], why: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        await error_in(answer(body, *encodings), ("/error",))
    assert str(caught.value).startswith(why)


def test_a_body_of_many_parts_takes_time_by_its_length_alone() -> None:
    body = gzip.compress(b"", mtime=0) * 200_000 + gzip.compress(b"{}", mtime=0)
    started = time.thread_time()
    assert b"{}" == _decompressed(answer(body, "gzip"))
    assert time.thread_time() - started < 3.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.lists(st.text(max_size=4), max_size=3),
)
def test_a_pointer_shows_what_python_finds(document: Any, path: list[str]) -> None:
    expected: Any = document
    for step in path:
        if isinstance(expected, dict):
            expected = expected.get(step)
        elif isinstance(expected, list) and step.isascii() and step.isdigit():
            expected = expected[int(step)] if int(step) < len(expected) else None
        else:
            expected = None
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)
    assert expected == at(document, pointer)
