"""The guard of what listens for HTTP."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.base.errors import ConfigError
from argo_mw.base.host_names import HostNames, host_name, is_loopback
from argo_mw.base.secret import Secret
from argo_mw.base.web_guard import (
    WebGuard,
    bearer_token,
    is_cross_site,
    load_or_create_token,
)

TOKEN = "t0ken-of-thirty-two-characters-x"
GUARD = WebGuard(Secret(TOKEN))
READER = WebGuard(Secret(TOKEN), reads_freely=True)
HOST = {"host": "127.0.0.1:8080"}
RIGHT = {**HOST, "authorization": f"Bearer {TOKEN}"}


def status(guard: WebGuard, method: str, headers: dict[str, str]) -> int:
    refusal = guard.refusal(method, headers)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "get", "BREW"])
def test_the_token_opens_every_method(method: str) -> None:
    assert status(GUARD, method, RIGHT) == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "authorization",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
     f"Bearer {TOKEN} {TOKEN}", f"Bearer {TOKEN}\n", "Bearer \u20ac" + TOKEN, "Bearer " + "x" * 100_000],
)  # fmt: skip
def test_nothing_but_the_token_opens(method: str, authorization: str | None) -> None:
    headers = HOST if authorization is None else {**HOST, "authorization": authorization}
    assert status(GUARD, method, headers) == 401


def test_reading_freely_is_reading_only() -> None:
    methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "get", "BREW"]
    assert [status(READER, method, HOST) for method in methods] == [200] * 3 + [401] * 6


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "127.0.0.1.evil.example", "localhost.", "[::1", "::1", "localhost:x",
     "localhost:8080:1", "localhost evil.example", "localhost,evil.example", "user@localhost", "\u24db\u24de\u24d2alhost"],
)  # fmt: skip
def test_a_name_that_it_does_not_go_by_is_refused_even_for_reading(host: str | None) -> None:
    headers = (
        {**RIGHT, "host": host} if host is not None else {"authorization": RIGHT["authorization"]}
    )
    assert [status(guard, "GET", headers) for guard in (GUARD, READER)] == [421, 421]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:65535", "127.3.2.1", "[::1]", "[::1]:80"]
)
def test_the_names_of_loopback_are_answered(host: str) -> None:
    assert status(GUARD, "POST", {**RIGHT, "host": host}) == 200


def test_other_names_are_answered_where_they_are_configured() -> None:
    guard = WebGuard(Secret(TOKEN), HostNames(["argo.example", "Watch.Example"]))
    hosts = ("argo.example:443", "watch.example", "localhost", "evil.example")
    assert [status(guard, "GET", {**RIGHT, "host": host}) for host in hosts] == [200, 200, 200, 421]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": ""}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:8080"}, False),
        ({"origin": "http://127.0.0.1:8081"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": ""}, True),
        ({"origin": "http://["}, True),
    ],
)
def test_a_page_of_another_site_is_distinguished_from_our_own(
    headers: dict[str, str], expected: bool
) -> None:
    assert is_cross_site({**HOST, **headers}) == expected


def test_another_site_changes_nothing_even_with_the_token() -> None:
    headers = {**RIGHT, "origin": "http://evil.example"}
    assert [status(GUARD, method, headers) for method in ("GET", "POST", "DELETE")] == [
        200,
        403,
        403,
    ]


def test_a_refusal_shows_nothing_of_the_request() -> None:
    refusal = GUARD.refusal("POST", {**HOST, "authorization": "Bearer my-own-secret-token-here"})
    assert refusal is not None
    assert "my-own" not in refusal.reason


@given(st.text(max_size=80))
def test_any_header_is_read_without_an_error(text: str) -> None:
    headers = {"host": text, "origin": text, "authorization": text, "sec-fetch-site": text}
    assert status(GUARD, "POST", headers) in {421, 403, 401}
    assert host_name(text) is None or host_name(text) == host_name(text.upper())
    assert bearer_token(f"Bearer {text}") in {None, text.strip(" ")}


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_the_token_is_made_once_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    first, second = load_or_create_token(path), load_or_create_token(path)
    assert first == second
    assert len(first.reveal()) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


def test_all_who_make_the_token_at_once_get_the_same(tmp_path: Path) -> None:
    path, tokens, start = tmp_path / "token", set[Secret](), threading.Barrier(8)

    def load() -> None:
        start.wait()
        tokens.add(load_or_create_token(path))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(tokens), [one.name for one in tmp_path.iterdir()]) == (1, ["token"])


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    load_or_create_token(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="other users may read the access token"):
        load_or_create_token(path)


@pytest.mark.parametrize(
    "content", ["", "short", "x" * 600, "two words of a token in one line", "\x00" * 40]
)
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(ConfigError, match="holds no access token"):
        load_or_create_token(path)


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    load_or_create_token(tmp_path / "other")
    (tmp_path / "token").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        load_or_create_token(tmp_path / "token")


@pytest.mark.parametrize(
    "name", ["argo.example:8420", "https://argo.example", "[::1]", "", "a b", "a/b"]
)
def test_a_host_that_no_request_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="without scheme, port and brackets"):
        HostNames(["localhost", name])


def test_a_host_is_a_name_or_an_address() -> None:
    names = ["argo.example", "10.1.2.3", "::1", "fe80::1", "my_host-2"]
    assert HostNames(names).own == frozenset(names)
