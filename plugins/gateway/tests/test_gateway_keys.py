"""Keys of clients, the configuration that lets them in, and the paths that they may write."""

from __future__ import annotations

import json
import re
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argo_mw import ConfigError
from argo_mw.plugin import Endpoint, WebCall, WebRequest, structure
from argo_mw.testing import FakeClock
from argo_mw_gateway import GatewayConfig
from argo_mw_gateway.commands import gateway
from argo_mw_gateway.keys import KEYS, ClientKey, KeyFile, Keys, make_key
from argo_mw_gateway.routes import Route, Routes, fault_of_path


def run(*words: str) -> Result:
    return CliRunner().invoke(gateway, ["keys", *words])


def test_a_key_is_shown_once_and_kept_as_a_digest_in_a_private_file(tmp_path: Path) -> None:
    made = run("create", "ci", "--tenant", "desk-7", "--usd", "5", "--per", "day")
    key = made.stdout.strip()
    file = tmp_path / KEYS
    assert re.fullmatch(r"argo-[0-9a-f]{12}-[\w-]{43}", key)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert key.split("-", 2)[2] not in file.read_text()  # the secret may hold a hyphen
    listed = run("list", "--json")
    [shown] = json.loads(listed.stdout)
    assert "digest" not in shown
    assert ("ci", "desk-7", 5.0, "day", "valid", False) == (
        *(shown[name] for name in ("name", "tenant", "usd", "per", "state", "unread")),
    )


def test_a_name_belongs_to_one_key_until_that_is_revoked() -> None:
    first = run("create", "ci")
    taken = run("create", "ci")
    assert isinstance(taken.exception, ConfigError)
    revoked, again = run("revoke", "ci"), run("create", "ci")
    assert [0, 0, 0] == [one.exit_code for one in (first, revoked, again)]
    assert 1 == run("revoke", "nobody").exit_code
    assert ["revoked", "valid"] == [
        key["state"] for key in json.loads(run("list", "--json").stdout)
    ]


def test_running_gateways_follow_the_file_within_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    file = KeyFile(tmp_path / KEYS)
    keys = Keys(file, clock.monotonic, clock.time)
    assert keys.find("argo-000000000000-" + "x" * 43) is None
    template = ClientKey(id="", name="a", digest="", created=0.0, expires=clock.time() + 100)
    key, kept = make_key(template)
    file.change(lambda known: [kept])
    assert kept == keys.find(key)
    assert keys.find(key[:-1] + ("a" if key[-1] != "a" else "b")) is None
    file.change(lambda known: [])
    clock.stall(1.0)
    assert keys.find(key) is None


@pytest.mark.parametrize("content", ["", "{}", '{"version": 2, "keys": []}', '{"version":1}'])
def test_while_the_file_cannot_be_read_nothing_opens(tmp_path: Path, content: str) -> None:
    clock = FakeClock()
    path = tmp_path / KEYS
    key, kept = make_key(ClientKey(id="", name="a", digest="", created=time.time()))
    KeyFile(path).change(lambda known: [kept])
    keys = Keys(KeyFile(path), clock.monotonic, clock.time)
    assert keys.find(key) is not None
    path.write_text(content)
    clock.stall(1.0)
    with pytest.raises(ConfigError, match="holds no keys"):
        keys.find(key)


def test_a_file_that_others_can_change_is_refused(tmp_path: Path) -> None:
    path = tmp_path / KEYS
    path.write_text('{"version": 1, "keys": []}')
    path.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod"):
        KeyFile(path).read()


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ({"host": "0.0.0.0"}, "in the clear"),
        ({"host": "0.0.0.0", "tls_certificate": "c.pem"}, "go together"),
        ({"clients": "anyone", "behind_proxy": True}, "this machine alone"),
        ({"host": "::", "behind_proxy": True, "clients": "anyone"}, "this machine alone"),
        ({"port": 70_000}, "port"),
        ({"clients": "all"}, "clients"),
        ({"hosts": ["https://argo.example"]}, "`hosts` .*without scheme"),
    ],
)
def test_a_configuration_that_lets_in_more_than_was_meant_is_refused(
    table: dict[str, object], wrong: str
) -> None:
    with pytest.raises(ConfigError, match=wrong):
        structure(table, GatewayConfig, where="argo.toml [plugins.gateway]")


@pytest.mark.parametrize(
    "table", [{"host": "0.0.0.0", "behind_proxy": True}, {"host": "::1", "clients": "anyone"}]
)
def test_a_gateway_behind_a_proxy_or_on_loopback_needs_no_tls(table: dict[str, object]) -> None:
    structure(table, GatewayConfig, where="argo.toml [plugins.gateway]")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/%6Dessages", "/v1//messages", "/v1/./messages", "/v1/../admin", "/v1/.."),
        *("/a%00", "/a%0d%0a", "/a%zz", "/a%", "/a\\b", "/ä", "/a%7f", "/a%2e%2e/b"),
    ],
)
def test_a_path_that_readers_understand_differently_is_refused(path: str) -> None:
    assert fault_of_path(path)


@pytest.mark.parametrize("path", ["/", "/v1/messages", "/v1/models/org%2Fmodel", "/v1/a..b/~c:d"])
def test_a_plain_path_passes(path: str) -> None:
    assert not fault_of_path(path)


async def read(request: WebRequest) -> WebCall:
    raise NotImplementedError


def test_the_longest_path_that_takes_the_method_answers() -> None:
    post = frozenset(["POST"])
    routes = Routes(
        {
            "llm": [
                Endpoint("/v1/*", read),
                Endpoint("/v1/messages", read, post),
                Endpoint("/claude/*", read),
            ],
            "http": [Endpoint("/claude/special/*", read, post)],
        }
    )

    def found(method: str, path: str) -> object:
        route = routes.find(method, path)
        return (route.endpoint.path, route.rest) if isinstance(route, Route) else route

    assert ("/v1/messages", "") == found("POST", "/v1/messages")
    assert ("/v1/*", "messages") == found("GET", "/v1/messages")
    assert ("/claude/special/*", "a/b") == found("POST", "/claude/special/a/b")
    assert ("/claude/*", "special/a") == found("GET", "/claude/special/a")
    assert [] == found("GET", "/other")
