"""URLs, transports, secrets, connections, and the loop and process that a handle belongs to."""

from __future__ import annotations

import asyncio
import ssl
import threading

import pytest
import trustme

from argo_mw import Argo, Closed, ConfigError, SharedUnavailable
from argo_mw.base.process import this_process
from argo_mw.config import parse
from argo_mw.plugin import Trouble, context_of, observe
from argo_mw.testing.shared import eventually
from argo_mw_redis import RedisShared, open_redis, plugin
from argo_mw_redis.plugin import diagnose
from argo_mw_redis.servers import _address


def application(url, state_dir):
    settings = {"argo": {"shared": url, "state_dir": str(state_dir)}}
    return Argo(parse(settings), plugins={"redis": plugin}, installed=False)


async def test_a_server_can_be_reached_by_a_socket_file(start_server, tmp_path):
    path = tmp_path / "redis.sock"
    start_server("--unixsocket", str(path))
    shared = await open_redis(f"unix://{path}?db=1&prefix=mine:")
    await shared.set("key", b"value")
    assert b"value" == await shared.get("key")
    await shared.aclose()


async def test_tls_is_used_and_certificates_are_checked(server, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    tasks = set()

    async def pipe(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def talk(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        for pair in ((reader, back), (there, writer)):
            tasks.add(asyncio.ensure_future(pipe(*pair)))

    listener = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    trusting = await open_redis(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}")
    await trusting.set("key", b"value")
    assert b"value" == await trusting.get("key")
    large = bytes(1_000_000)
    await asyncio.gather(*(trusting.set(f"large:{n}", large) for n in range(5)))
    assert [large] * 5 == await asyncio.gather(*(trusting.get(f"large:{n}") for n in range(5)))
    await trusting.aclose()
    wary = await open_redis(f"rediss://localhost:{port}/0")
    assert "certificate" in (wary.unreachable or "").lower()
    await wary.aclose()
    listener.close()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_passwords_and_databases_are_used_and_never_shown(start_server):
    server = start_server("--requirepass", "s3cret")
    url = f"redis://:s3cret@127.0.0.1:{server.port}/2"
    shared = await open_redis(url)
    await shared.set("key", b"value")
    assert b"value" == await shared.get("key")
    assert "s3cret" not in repr(shared._batcher._server) + repr(vars(shared))
    await shared.aclose()
    wrong = await open_redis(url.replace("s3cret", "wr0ng"))
    with pytest.raises(SharedUnavailable) as caught:
        await wrong.get("key")
    assert "wr0ng" not in str(caught.value)
    await wrong.aclose()


@pytest.mark.parametrize("how", ["%41bc", "%2Fbc"])
async def test_a_password_with_a_percent_sign_that_is_refused_is_explained(start_server, how):
    server = start_server("--requirepass", how)
    url = f"redis://:{how}@127.0.0.1:{server.port}/0"
    refused = await open_redis(url)
    assert "write a % that belongs to the password as %25" in refused.unreachable
    assert how not in refused.unreachable
    await refused.aclose()
    right = await open_redis(url.replace("%", "%25"))
    assert right.unreachable is None
    await right.aclose()


async def test_a_server_that_is_unreachable_at_the_start_is_one_trouble(server, tmp_path):
    server.kill()
    argo, troubles = application(server.url, tmp_path), []
    observe(argo, lambda event: troubles.append(event) if isinstance(event, Trouble) else None)
    async with argo:
        await eventually(lambda: bool(troubles))
        [trouble] = troubles
        assert "shared store" == trouble.where
        assert trouble.what.startswith("Redis cannot be reached: ")
        assert "until it can be used again" in trouble.what


async def test_a_silent_connection_needs_no_right_to_ping(server):
    server.allow("app", "~* &* +@all -ping")
    shared = await open_redis(server.url_of("app") + "?timeout=0.05")
    lost = []
    await shared.subscribe("news", lambda _: None, lambda: lost.append("gap"), on_lost=lost.append)
    await asyncio.sleep(0.5)
    assert [] == lost
    await shared.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@host:port/0",
        "redis://:s3cret@host/0?timeout=never",
        "redis://:s3cret@host/0?connections=0",
        "redis+sentinel://:s3cret@host",
        "redis+sentinel://:s3cret@host/fleet?typo=1",
        "redis+sentinel://:s3cret@host:x/fleet",
        "redis+sentinel://:s3cret@host,/fleet",
        "redis://:s3cret@host/0?connections=0.5",
        "redis://:s3cret@host/0?typo=1",
        "redis://:s3cret@host/production",
        "redis://:s3cret[@host/0",
        "redis://:s3cret/more@host/0",
        "redis://:s3cret?more@host/0",
        "redis://:s3cret#more@host/0",
        "redis+sentinel://:s3cret/more@host/fleet",
    ],
)
async def test_errors_about_wrong_urls_do_not_show_their_secrets(url):
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        await open_redis(url)
    assert "s3cret" not in str(caught.value)


async def test_an_impossible_host_name_is_an_unreachable_server():
    shared = await open_redis("redis://no..name/0")
    with pytest.raises(SharedUnavailable, match="label empty"):
        await shared.get("key")
    await shared.aclose()


def test_sentinels_may_have_ipv6_addresses():
    assert [("::1", 5), ("::2", 26379), ("host", 26379)] == [
        _address(text, "a sentinel", 26379) for text in ("[::1]:5", "[::2]", "host")
    ]


async def test_a_thousand_callers_need_a_handful_of_connections(server):
    shared = await open_redis(server.url)
    await shared.set_many({f"key:{n}": b"%d" % n for n in range(1_000)})

    async def caller(number):
        for _ in range(5):
            assert b"%d" % number == await shared.get(f"key:{number}")

    await shared.subscribe("news", lambda _: None, lambda: None)
    callers = asyncio.gather(*map(caller, range(1_000)))
    await asyncio.sleep(0)
    clients = server.command("CLIENT", "LIST", "TYPE", "NORMAL").count(b"cmd=mget")
    await callers
    assert clients <= 1
    assert 1 == shared.connections
    await shared.aclose()


async def test_gets_of_one_turn_are_one_command(server):
    shared = await open_redis(server.url)
    server.command("CONFIG", "RESETSTAT")
    await asyncio.gather(*(shared.get(f"key:{n}") for n in range(300)))
    info = (await shared.infos())[""]
    assert info["cmdstat_mget"].startswith("calls=1,") if "cmdstat_mget" in info else True
    stats = server.command("INFO", "commandstats")
    assert b"cmdstat_mget:calls=1," in stats
    assert b"cmdstat_get:" not in stats
    await shared.aclose()


async def test_too_many_waiting_commands_are_refused(server):
    shared = await open_redis(server.url + "?max_waiting=100")
    answers = await asyncio.gather(
        *(shared.get(f"key:{n}") for n in range(150)), return_exceptions=True
    )
    assert 50 == sum(isinstance(answer, SharedUnavailable) for answer in answers)
    await shared.aclose()


async def test_two_prefixes_share_no_keys(server):
    one = await open_redis(server.url + "?prefix=one:")
    two = await open_redis(server.url + "?prefix=two:")
    await one.set("key", b"one")
    assert await two.get("key") is None
    assert [] == list(await two.scan(""))
    for shared in (one, two):
        await shared.aclose()


async def test_use_on_another_event_loop_is_refused(server):
    shared = await open_redis(server.url)
    refused = []

    def elsewhere():
        with pytest.raises(Closed, match="event loop"):
            asyncio.run(shared.get("key"))
        refused.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert [True] == refused
    await shared.aclose()


async def test_use_in_a_forked_process_is_refused(server, monkeypatch):
    shared = await open_redis(server.url)
    monkeypatch.setattr(this_process, "token", object())  # as after a fork
    with pytest.raises(Closed, match="forked"):
        await shared.get("key")
    monkeypatch.undo()
    await shared.aclose()


async def test_nothing_is_left_running(server):
    before = asyncio.all_tasks()
    shared = await open_redis(server.url)
    await shared.subscribe("news", lambda _: None, lambda: None)
    await shared.aclose()
    assert before == asyncio.all_tasks()


async def test_cancelling_all_tasks_leaves_no_caller_waiting(server):
    shared = await open_redis(server.url + "?timeout=0.2")
    server.freeze()
    asking = asyncio.ensure_future(shared.get("key"))
    await eventually(lambda: shared.busy == 1)
    for task in asyncio.all_tasks() - {asking, asyncio.current_task()}:
        task.cancel()
    for attempt in (asking, shared.get("another")):
        with pytest.raises(SharedUnavailable, match="in time"):
            await attempt
    await shared.aclose()


async def test_a_server_that_starts_later_is_found(server):
    server.kill()
    shared = await open_redis(server.url + "?retry_interval=0.01")
    with pytest.raises(SharedUnavailable, match="cannot be reached"):
        await shared.get("key")
    await asyncio.to_thread(server.start)
    await eventually(lambda: shared.unreachable is None, 60.0)
    assert await shared.get("key") is None
    await shared.aclose()


async def test_the_framework_opens_it_by_its_url(server, tmp_path):
    async with application(server.url, tmp_path) as argo:
        assert isinstance(context_of(argo).shared, RedisShared)
        found = {what: well for what, well, _ in await diagnose(context_of(argo))}
    assert {"redis": True, "redis memory": False, "redis eviction": True} == found


async def test_diagnose_accepts_a_server_with_limits_and_reports_one_that_is_gone(
    start_server, tmp_path
):
    server = start_server("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
    async with application(server.url, tmp_path) as argo:
        assert all(well for _, well, _ in await diagnose(context_of(argo)))
        server.kill()
        while context_of(argo).shared.unreachable is None:
            with pytest.raises(SharedUnavailable):
                await context_of(argo).shared.get("key")
        assert [False] == [well for _, well, _ in await diagnose(context_of(argo))]
