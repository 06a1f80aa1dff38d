"""Secrets: values that no log, error or dump shows.

Every secret of this process is known here, so that :func:`redact` can strike it out of any text
that is about to be shown, wherever it came from: a driver's message, a vendor's echo.
"""

from __future__ import annotations

import hmac
import html
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus, unquote

STARS: Final = "********"
_MIN_LENGTH: Final = 6
"""The shortest secret that is struck out, in characters: shorter ones would blank out common
words."""
_MIN_LINE: Final = 8
"""The shortest line of a secret that is struck out by itself, in characters."""
_MAX_SECRETS: Final = 4096
_LOGIN: Final = re.compile(r"://[^\s:/@]{0,256}:")
"""How a URL with a password begins, up to the password."""
_MAX_PASSWORD: Final = 4096
_BLANK: Final = re.compile(r"\s|\Z")
_ESCAPED: Final = re.compile("%..")
_END_OF_HOST: Final = re.compile("[/?#]")
_PARAMETER: Final = re.compile(
    r"([?&][\w.-]{0,64}(?:password|passwd|secret|token|key|auth)=)[^&\s'\"#]{1,4096}", re.IGNORECASE
)


class Secret:
    """A value that must not be shown.

    ``repr`` and ``str`` hide it; :meth:`reveal` returns it, to be called when it is sent. It is
    deliberately not an attrs class: without a fingerprint and a codec it can become part of neither
    a key nor a stored value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = HiddenText(value)
        conceal(value)

    def reveal(self) -> str:
        """Return the value itself, as text whose ``repr`` still hides it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return STARS

    def __repr__(self) -> str:
        return f"Secret({STARS})"


class SecretUrl(Secret):
    """The URL of a service, which may hold a password.

    ``repr`` and ``str`` show it without password and keys, so that people see which server is
    meant.
    """

    __slots__ = ()

    def __init__(self, value: str) -> None:
        self._value = HiddenText(value)
        conceal_passwords(value)

    def __str__(self) -> str:
        return redact(str(self._value))

    def __repr__(self) -> str:
        return f"SecretUrl({self})"


class HiddenText(str):
    """Text whose ``repr`` does not show it, and that is used like any other.

    Used for revealed secrets, and for configured text that came from the environment or holds a
    password, so that neither the ``repr`` of their owner nor a traceback with local variables shows
    them.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(STARS)


def redact(text: str) -> str:
    """Return *text* without the secrets of this process and without passwords in URLs."""
    pattern = _known.pattern
    if pattern is not None:
        text = pattern.sub(STARS, text)
    return redact_url(text) if "://" in text else text


def redact_url(text: str) -> str:
    """Return *text*, a URL or text with URLs, without the passwords and keys in them.

    Users, hosts and paths stay, so that people see which server is meant.
    """
    return _PARAMETER.sub(rf"\1{STARS}", _without_passwords(text))


def _without_passwords(text: str) -> str:
    """Return *text* without the passwords of its URLs, each up to the last ``@`` that it may hold.

    Searched by hand: a regular expression would scan the rest of the text once for every ``://``.
    """
    parts: list[str] = []
    at = blank = 0
    while (found := _LOGIN.search(text, at)) is not None:
        begin = found.end()
        if blank < begin:
            end_of_word = _BLANK.search(text, begin)
            blank = len(text) if end_of_word is None else end_of_word.start()
        # A password has at least one character, and may itself hold an @.
        end = text.rfind("@", begin + 1, min(blank, begin + _MAX_PASSWORD + 1))
        parts.append(text[at:begin] if end < 0 else f"{text[at:begin]}{STARS}")
        at = begin if end < 0 else end
    return "".join([*parts, text[at:]])


def conceal(value: str) -> None:
    """Have :func:`redact` strike out *value* from now on, and if it is a URL, its password too.

    Also in lower or upper case, as of a host's name, and each line of several by itself. Values
    with less than six characters, and lines with less than eight, are not struck out: they would
    blank out common words.
    """
    _known.add([value, *_passwords(value)])


def conceal_passwords(url: str) -> None:
    """Have :func:`redact` strike out the password in *url* from now on, if there is one."""
    _known.add(_passwords(url))


class _KnownSecrets:
    """The secrets of this process, the newest 4096.

    Attributes:
        pattern: Finds any of them in a text; ``None`` while there are none.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.pattern: re.Pattern[str] | None = None

    def add(self, values: list[str]) -> None:
        forms = {form for value in values for part in _parts(value) for form in _forms(part)}
        with self._lock:
            new = {form for form in forms if len(form) >= _MIN_LENGTH} - self._values.keys()
            if not new:
                return
            self._values.update(dict.fromkeys(sorted(new)))
            while len(self._values) > _MAX_SECRETS:
                self._values.popitem(last=False)
            # The longest first, since a secret may begin like another.
            longest = sorted(self._values, key=len, reverse=True)
            self.pattern = re.compile("|".join(map(re.escape, longest)))


_known = _KnownSecrets()


def _parts(value: str) -> Iterator[str]:
    """Yield *value*, and its lines if it has several, as far as they are long enough."""
    yield value
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        # Not the first and last line of a key in PEM, which all such keys share.
        yield from (line for line in lines if len(line) >= _MIN_LINE and line[:5] != "-----")


def _forms(text: str) -> Iterator[str]:
    """Yield *text* as messages may show it: quoted in some way, and in any one case."""
    for form in {text, *_quoted(text)}:
        yield from (form, form.lower(), form.upper())


def _quoted(text: str) -> Iterator[str]:
    """Yield *text* as it stands in URLs, in Python's text and bytes, in JSON, and in HTML.

    For keys of letters and digits these are all the same.
    """
    for url in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield url
        yield _ESCAPED.sub(lambda found: found[0].lower(), url)
    yield from (repr(text)[1:-1], ascii(text)[1:-1], repr(text.encode(errors="replace"))[2:-1])
    for written in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield from (written, written.replace("/", "\\/"))
    yield html.escape(text)


def _passwords(url: str) -> list[str]:
    """Return the password in *url* as written and as meant, if it has one.

    The URL is split by hand, since a wrong one may not parse; an unquoted password may hold any of
    the characters that end a host.
    """
    _, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return []
    netloc = _END_OF_HOST.split(rest, maxsplit=1)[0]
    login = (netloc if "@" in netloc else rest).rpartition("@")[0]
    password = login.partition(":")[2]
    return [password, unquote(password)]
