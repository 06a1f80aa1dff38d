"""Makes connections from a URL: to a server, a master behind sentinels, or nodes of a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from attrs import field, frozen
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from argo_mw.plugin import ConfigError, suggest

SENTINEL: Final = "redis+sentinel"
CLUSTER: Final = ("redis+cluster", "rediss+cluster")
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_END_OF_HOST: Final = re.compile("[/?#]")
_NUMBERS: Final = ("timeout", "retry_interval", "connections", "max_waiting")
_LOGIN: Final = frozenset(("username", "password", "client_name"))
_OF_SENTINELS: Final = frozenset(("sentinel_username", "sentinel_password"))
_OF_TLS: Final = frozenset(name for name in signature(SSLConnection).parameters if "ssl_" in name)


@frozen
class Options:
    """The options of this driver in a URL's query; the others are redis-py's.

    Attributes:
        timeout: Seconds after which a server that does not answer counts as unreachable.
        retry_interval: Seconds between two attempts to reach an unreachable server.
        connections: The number of connections that carry commands.
        max_waiting: The most gets that may wait, and the most other commands; more are refused.
        prefix: The beginning of every key, for several applications on one server.
        escaped: Whether user or password contain percent escapes; not an option of the query.
    """

    timeout: float = 1.0
    retry_interval: float = 0.25
    connections: int = 1
    max_waiting: int = 50_000
    prefix: str = "argo:"
    escaped: bool = False


Address = tuple[str, int]
"""A host and a port."""


class Server(Protocol):
    """Makes connections."""

    async def connect(self) -> AbstractConnection:
        """Return a connection that is ready for commands.

        Raises:
            redis.exceptions.RedisError, OSError: The server cannot be reached now.
        """

    async def aclose(self) -> None:
        """Close what finding the server needed."""


@frozen
class SingleServer:
    """The server at one address."""

    _pool: Any = field(repr=False)

    async def connect(self) -> AbstractConnection:
        return await _connected(self._pool)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


@frozen
class SentinelServer:
    """The master that a quorum of sentinels names at the time of each connection."""

    _sentinel: Sentinel = field(repr=False)
    _pool: Any = field(repr=False)

    async def connect(self) -> AbstractConnection:
        try:
            connection = await _connected(self._pool)
        except MasterNotFoundError as error:  # the rest describes each sentinel
            raise RedisConnectionError(str(error).partition(" : ")[0]) from None
        try:
            # A sentinel that has not noticed a failover yet names the old master.
            await connection.send_command("ROLE")
            role = await connection.read_response(disable_decoding=True)
            if not isinstance(role, list) or role[0] != b"master":
                msg = "the server that the sentinels name is not a master (yet)"
                raise RedisConnectionError(msg)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def aclose(self) -> None:
        for client in self._sentinel.sentinels:
            await client.aclose()


@frozen
class ClusterServers:
    """Makes connections to the nodes of a cluster.

    Attributes:
        start: The addresses of the URL, at which to ask for the other nodes.
    """

    start: tuple[Address, ...]
    _pool_at: Callable[[Address], Any] = field(repr=False)

    def at(self, address: Address) -> Server:
        """Return the node at *address*."""
        return SingleServer(self._pool_at(address))


async def _connected(pool: Any) -> AbstractConnection:
    connection: AbstractConnection = pool.make_connection()
    connect: Any = connection.connect  # redis-py leaves it untyped
    await connect()
    return connection


def parse(url: str) -> tuple[Server, Options]:
    """Return the server and the options that *url* names.

    Raises:
        ConfigError: The URL is wrong; the message does not contain its password.
    """
    try:
        plain, options = _take_options(url)
        if urlsplit(url).scheme == SENTINEL:
            return _sentinels(plain, options), options
        db = urlsplit(url).path.strip("/") if urlsplit(url).scheme != "unix" else ""
        if db and not db.isdecimal():
            msg = f"{db!r} is not the number of a database"
            raise ValueError(msg)
        pool: Any = ConnectionPool.from_url(plain, **_common(options))
        pool.make_connection()  # refuses unknown options; opens nothing
    except (ValueError, TypeError, RedisError) as error:
        msg = f"the Redis URL {_masked(url)} cannot be used: {_safe(error, url)}"
        raise ConfigError(msg) from None
    return SingleServer(pool), options


def parse_cluster(url: str) -> tuple[ClusterServers, Options]:
    """Return the nodes of the cluster and the options that *url* names.

    Raises:
        ConfigError: The URL is wrong; the message does not contain its password.
    """
    try:
        plain, options = _take_options(url)
        parts = urlsplit(plain)
        if parts.path.strip("/"):
            msg = f"a cluster has a single database: leave out {parts.path!r}"
            raise ValueError(msg)
        if {"{", "}"} & {*options.prefix}:
            msg = "braces in the prefix would put everything on one node: leave them out"
            raise ValueError(msg)
        login, at, addresses = parts.netloc.rpartition("@")
        _check_login(login)
        start = tuple(_address(one, "a node", _PORT) for one in addresses.split(","))
        scheme = parts.scheme.partition("+")[0]

        def pool_at(address: Address) -> Any:
            host, port = address
            where = f"[{host}]" if ":" in host else host
            one = urlunsplit((scheme, f"{login}{at}{where}:{port}", "", parts.query, ""))
            return ConnectionPool.from_url(one, **_common(options))

        pool_at(start[0]).make_connection()  # refuses unknown options; opens nothing
    except (ValueError, TypeError, RedisError) as error:
        msg = f"the Redis URL {_masked(url)} cannot be used: {_safe(error, url)}"
        raise ConfigError(msg) from None
    return ClusterServers(start, pool_at), options


def _take_options(url: str) -> tuple[str, Options]:
    parts = urlsplit(url)
    ours: dict[str, Any] = {}
    rest = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "prefix":
            ours[name] = value
        elif name in _NUMBERS:
            ours[name] = _number(name, value)
        else:
            _check_option(name, parts.scheme)
            rest.append((name, value))
    login = parts.netloc.rpartition("@")[0]
    escaped = unquote(login) != login
    return urlunsplit(parts._replace(query=urlencode(rest))), Options(**ours, escaped=escaped)


def _number(name: str, text: str) -> float:
    kind = type(getattr(Options(), name))
    try:
        number: float = kind(text)
    except ValueError:
        msg = f"{name} must be a {'whole number' if kind is int else 'number'}, not {text!r}"
        raise ValueError(msg) from None
    if not number > 0:
        msg = f"{name} must be above 0"
        raise ValueError(msg)
    return number


def _check_option(name: str, scheme: str) -> None:
    """Check that a URL with *scheme* may hold the option *name* of redis-py.

    Raises:
        ValueError: It may not; the other options of redis-py are set by this driver.
    """
    if scheme == SENTINEL:
        known = _OF_SENTINELS
    else:
        known = _LOGIN if scheme == "unix" else _LOGIN | {"socket_keepalive"}
        known |= set() if scheme in CLUSTER else {"db"}
        known |= _OF_TLS if scheme.startswith("rediss") else set()
    if name in known:
        return
    if name in _OF_TLS and scheme in ("redis", "redis+cluster"):
        msg = f"{name} is for TLS: begin the URL with {scheme.replace('redis', 'rediss')}://"
    elif name == "db" and scheme in CLUSTER:
        msg = "a cluster has a single database: leave out db"
    else:
        hint = suggest(name, {*known, *_NUMBERS, "prefix"})
        msg = f"{name!r} is not an option of this driver: {hint}"
    raise ValueError(msg)


def _common(options: Options) -> dict[str, Any]:
    return {
        "protocol": 2,
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.timeout,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
        "driver_info": None,  # else each connection reads redis-py's metadata from disk
        "socket_read_size": 2**18,  # reads a batch's reply in few steps
        "max_connections": 2**31,
    }


def _sentinels(url: str, options: Options) -> SentinelServer:
    parts = urlsplit(url)
    login, _, addresses = parts.netloc.rpartition("@")
    _check_login(login)
    service, _, db = parts.path.strip("/").partition("/")
    if not addresses or not service:
        msg = "it must be redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
        raise ValueError(msg)
    query = dict(parse_qsl(parts.query))
    user, _, password = login.partition(":")
    common = _common(options)
    of_sentinels = {
        **common,
        "username": query.pop("sentinel_username", None),
        "password": query.pop("sentinel_password", None),
    }
    hosts = [_address(address, "a sentinel", _SENTINEL_PORT) for address in addresses.split(",")]
    make: Any = Sentinel  # redis-py leaves it untyped
    sentinel = make(hosts, sentinel_kwargs=of_sentinels)
    client = sentinel.master_for(
        service,
        db=int(db or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        **common,
    )
    return SentinelServer(sentinel, client.connection_pool)


def _address(text: str, of: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        msg = f"{text!r} is not the address of {of}"
        raise ValueError(msg)
    return parts.hostname, port if parts.port is None else parts.port


def _check_login(login: str) -> None:
    """Return if *login* is not one with addresses in it.

    Raises:
        ValueError: It may be.
    """
    if "@" in login and "," in login:
        msg = (
            "user and password are given once, before the first address; write an @ in them as %40"
        )
        raise ValueError(msg)


# The following functions split URLs by hand, since a wrong URL may not be parsable.


def _masked(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login = _login(url)
    if login is None:
        return f"{scheme}://…"
    return f"{scheme}://{rest.removeprefix(login + '@').partition('?')[0]}"


def _safe(error: Exception, url: str) -> str:
    login = _login(url)
    if login is None:
        return "an @ comes late in it; / ? and # in a password are written %2F %3F and %23"
    password = login.partition(":")[2]
    return str(error).replace(password, "***") if password else str(error)


def _login(url: str) -> str | None:
    """Return user and password in *url*; ``None`` if an unquoted one may be anywhere in it."""
    rest = url.partition("://")[2]
    netloc = _END_OF_HOST.split(rest, maxsplit=1)[0]
    if "@" in rest and "@" not in netloc:
        return None
    return netloc.rpartition("@")[0]
