"""The dashboard over real sockets: what it sends, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from argo_mw import Argo, PluginError
from argo_mw.config import parse
from argo_mw.plugin import Line, context_of, plugin_of
from argo_mw.testing import FakeClock, blocking_calls, settle
from argo_mw.testing.shared import eventually
from argo_mw_dashboard import DashboardPlugin
from argo_mw_dashboard.config import DashboardConfig
from argo_mw_dashboard.serving import Dashboard, PortTaken, open_in_browser

from .conftest import Showing, client_of, events, open_argo, shown_by, token_of

PRESS = {"panel": "showing", "button": "press", "key": "AAPL"}
FILES = ("/", "/page.css", "/page.js", "/draw.js", "/live.js", "/icon.svg")


@pytest.mark.parametrize("path", FILES)
async def test_the_page_needs_no_token_and_keeps_to_its_own_files(path: str) -> None:
    async with open_argo() as argo, client_of(argo, "") as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert token_of_text(answer.text) is None


def token_of_text(text: str) -> re.Match[str] | None:
    """Find what looks like a token in *text*."""
    return re.search(r"[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", text)


async def test_the_page_holds_no_script_or_style_and_names_no_other_host() -> None:
    async with open_argo() as argo, client_of(argo, "") as client:
        texts = {path: (await client.get(path)).text for path in FILES}
    page = texts["/"]
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", page)
    for path, text in texts.items():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


@pytest.mark.parametrize("path", ["/api/live", "/api/snapshot"])
async def test_what_programs_do_is_shown_to_nobody_without_the_token(path: str) -> None:
    async with open_argo() as argo:
        for token in ("", "wrong", token_of(argo)[:-1]):
            async with client_of(argo, token) as client:
                answer = await client.get(path)
            assert answer.status_code == 401
            assert "token" in answer.json()["why"]


async def test_a_page_of_a_name_that_was_rebound_is_refused() -> None:
    async with open_argo() as argo, client_of(argo) as client:
        for path in ("/", "/api/snapshot"):
            answer = await client.get(path, headers={"Host": "evil.example:80"})
            assert answer.status_code == 421


async def test_a_further_name_is_answered_where_it_is_configured() -> None:
    async with open_argo(config={"hosts": ["Watch.Example"]}) as argo, client_of(argo) as client:
        answer = await client.get("/api/snapshot", headers={"Host": "watch.example"})
    assert answer.status_code == 200


async def test_a_snapshot_says_what_the_program_does() -> None:
    async with open_argo() as argo, client_of(argo) as client:
        for _ in range(3):
            await argo.call("bars", symbol="AAPL")
        found = (await client.get("/api/snapshot")).json()
    (one,) = found["operations"]
    assert (one["name"], one["total"]) == ("bars", 3)
    assert [layer["name"] for layer in found["layers"]] == ["memory"]
    assert {"argo.upstreams", "argo.flags", "showing"} <= {p["name"] for p in found["panels"]}


async def test_a_page_is_sent_what_is_new_every_two_seconds(clock: FakeClock) -> None:
    async with (
        open_argo(clock) as argo,
        client_of(argo) as client,
        client.stream("GET", "/api/live") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = events(response)
        name, first = await anext(stream)
        assert name == "snapshot"
        assert first["operations"] == []
        for _ in range(3):
            await argo.call("bars", symbol="AAPL")
        await clock.advance(2.0)
        _, second = await anext(stream)
    assert [one["total"] for one in second["operations"]] == [3]


async def test_two_pages_share_one_reading(clock: FakeClock) -> None:
    showing = Showing()
    async with open_argo(clock, showing=showing) as argo, client_of(argo) as client:
        await argo.call("bars", symbol="AAPL")
        async with (
            client.stream("GET", "/api/live") as one,
            client.stream("GET", "/api/live") as two,
        ):
            streams = events(one), events(two)
            for stream in streams:
                await anext(stream)
            read = showing.reads
            for _ in range(3):
                await clock.advance(2.0)
                for stream in streams:
                    await anext(stream)
    assert showing.reads == read + 3


async def test_nothing_is_read_once_the_last_page_is_closed(clock: FakeClock) -> None:
    showing = Showing()
    async with open_argo(clock, showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        site = shown_by(argo).site
        async with client_of(argo) as client, client.stream("GET", "/api/live") as response:
            await anext(events(response))
            assert site.viewers == 1
        await eventually(lambda: site.viewers == 0)
        await clock.advance(2.0)
        read = showing.reads
        await clock.advance(60.0)
    assert showing.reads == read


async def test_a_page_that_is_opened_again_is_sent_news_and_nothing_old(clock: FakeClock) -> None:
    async with open_argo(clock) as argo, client_of(argo) as client:
        async with client.stream("GET", "/api/live") as response:
            await anext(events(response))
        await eventually(lambda: shown_by(argo).site.viewers == 0)
        await clock.advance(600.0)
        await argo.call("bars", symbol="AAPL")
        async with client.stream("GET", "/api/live") as response:
            _, snapshot = await anext(events(response))
    assert [one["total"] for one in snapshot["operations"]] == [1]


async def test_a_program_ends_while_pages_are_open(clock: FakeClock) -> None:
    async with open_argo(clock) as argo:
        client = httpx2.AsyncClient(
            base_url=shown_by(argo).address, headers={"Authorization": f"Bearer {token_of(argo)}"}
        )
        streaming = client.stream("GET", "/api/live")
        response = await streaming.__aenter__()
        stream = events(response)
        await anext(stream)
    async with asyncio.timeout(60.0):
        rest = [one async for one in stream]
        await streaming.__aexit__(None, None, None)
        await client.aclose()
    assert rest == []


async def test_a_button_is_pressed_with_the_token_and_the_journal_tells() -> None:
    showing = Showing(lines=[Line(("AAPL", 1), key="AAPL")])
    async with open_argo(showing=showing) as argo, client_of(argo) as client:
        answer = await client.post("/api/press", json=PRESS)
        assert (answer.status_code, answer.json()) == (200, {"done": "AAPL was pressed"})
        journal = (await client.get("/api/snapshot")).json()["journal"]
    assert showing.pressed == ["AAPL"]
    assert [entry["what"] for entry in journal] == ["Shown: AAPL was pressed"]


async def test_a_write_is_refused_without_the_token() -> None:
    showing = Showing()
    async with open_argo(showing=showing) as argo:
        for token in ("", "wrong"):
            async with client_of(argo, token) as client:
                answer = await client.post("/api/press", json=PRESS)
            assert answer.status_code == 401
    assert showing.pressed == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_write_of_another_site_is_refused_even_with_the_token(headers) -> None:
    showing = Showing()
    async with open_argo(showing=showing) as argo, client_of(argo) as client:
        answer = await client.post("/api/press", json=PRESS, headers=headers)
    assert answer.status_code == 403
    assert showing.pressed == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"panel": 1, "button": "press", "key": ""}', 400),
        (b'{"panel": "showing", "button": "press"}', 400),
        (b"\xff\xfe", 400),
        (b"x" * 20_000, 413),
        (b'{"panel": "none", "button": "press", "key": ""}', 409),
        (b'{"panel": "showing", "button": "none", "key": ""}', 409),
        (b'{"panel": "showing", "button": "press", "key": "no"}', 409),
    ],
)
async def test_a_write_that_cannot_be_done_says_why(body: bytes, status: int) -> None:
    showing = Showing()
    async with open_argo(showing=showing) as argo, client_of(argo) as client:
        answer = await client.post("/api/press", content=body)
    assert answer.status_code == status
    assert answer.json()["why"]
    assert showing.pressed == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/press"), ("PUT", "/api/press"),
                                              ("POST", "/api/live"), ("GET", "/api/none"),
                                              ("GET", "/../pyproject.toml")])  # fmt: skip
async def test_there_is_nothing_else(method: str, path: str) -> None:
    async with open_argo() as argo, client_of(argo) as client:
        answer = await client.request(method, path)
    assert answer.status_code in (404, 405)


async def test_the_token_is_private_and_outlives_the_program(tmp_path: Path) -> None:
    async with open_argo() as argo:
        first = token_of(argo)
        kept = context_of(argo).state_dir / "dashboard-token"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    async with open_argo() as argo:
        assert token_of(argo) == first


async def test_a_token_that_others_can_read_is_not_used() -> None:
    async with open_argo() as argo:
        kept = context_of(argo).state_dir / "dashboard-token"
    kept.chmod(0o644)
    async with open_argo() as argo:
        assert plugin_of_or_none(argo) is None
        (broken,) = argo.broken
    assert "other users may read the access token" in broken.error


def plugin_of_or_none(argo: Argo) -> DashboardPlugin | None:
    """Return the plugin of *argo*, or ``None`` where it was left out."""
    try:
        return plugin_of(argo, DashboardPlugin)
    except PluginError:
        return None


async def test_two_programs_with_one_port_show_one_dashboard() -> None:
    async with open_argo() as argo:
        port = int(shown_by(argo).address.rstrip("/").rpartition(":")[2])
        async with open_argo(config={"port": port}) as second:
            assert plugin_of(second, DashboardPlugin).shown is None
            assert second.broken == ()
            with pytest.raises(PortTaken, match=f"cannot be shown at port {port}"):
                await Dashboard.show(context_of(second), port)


async def test_it_is_reached_on_loopback_only() -> None:
    async with open_argo() as argo:
        host = shown_by(argo).address.removeprefix("http://").partition(":")[0]
        assert socket.inet_aton(host)[0] == 127


async def test_nothing_blocks_the_loop_while_a_page_looks(clock: FakeClock) -> None:
    async with open_argo(clock) as argo, client_of(argo) as client:
        async with client.stream("GET", "/api/live") as response:
            stream = events(response)
            await anext(stream)
            with blocking_calls() as found:
                await clock.advance(2.0)
                await anext(stream)
    assert found == []


async def test_a_program_that_shows_none_loads_no_web_server() -> None:
    program = (
        "import asyncio, sys\n"
        "from argo_mw import Argo\n"
        "from argo_mw_dashboard import DashboardPlugin\n"
        "async def main():\n"
        "    plugins = {'dashboard': DashboardPlugin()}\n"
        "    async with Argo.open({'argo': {'shared': 'memory://'}}, plugins=plugins,"
        " installed=False):\n"
        "        print(sorted({'uvicorn', 'starlette'} & sys.modules.keys()))\n"
        "asyncio.run(main())\n"
    )
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"


def test_a_browser_is_led_to_it_by_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) is None)
    url = 'http://127.0.0.1:1/#token="><script>'
    assert open_in_browser(url, tmp_path)
    page = tmp_path / "dashboard-open.html"
    assert opened == [page.as_uri()]
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "<script>" not in page.read_text()


def test_a_port_is_a_port() -> None:
    with pytest.raises(ValueError, match="65535"):
        DashboardConfig(port=70_000)


async def test_a_reading_that_fails_is_said_and_the_next_is_shown(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_argo(clock) as argo, client_of(argo) as client:
        panels = context_of(argo).panels
        whole = panels.read_here

        async def broken(*, fleet: bool) -> None:
            msg = "boom"
            raise RuntimeError(msg)

        async with client.stream("GET", "/api/live") as response:
            stream = events(response)
            await anext(stream)
            monkeypatch.setattr(panels, "read_here", broken)
            await clock.advance(2.0)
            assert await anext(stream) == ("trouble", "RuntimeError: boom")
            monkeypatch.setattr(panels, "read_here", whole)
            await clock.advance(2.0)
            name, _ = await anext(stream)
    assert name == "snapshot"
    await settle()


async def test_a_command_that_looks_takes_no_port_from_the_program_that_works() -> None:
    config = {
        "argo": {"shared": "memory://"},
        "plugins": {"dashboard": {"port": 0}},
    }
    plugins = {"dashboard": DashboardPlugin()}
    async with Argo(parse(config), plugins=plugins, installed=False, serves=False) as argo:
        assert plugin_of(argo, DashboardPlugin).shown is None


async def test_while_nobody_looks_the_plugin_adds_nothing_to_the_path_of_a_call() -> None:
    async with open_argo() as argo:
        context = context_of(argo)
        assert [layer.name for layer in context.layers] == ["memory"]
        assert not context.events
