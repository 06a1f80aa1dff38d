"""argo.toml into checked values, with errors that say what to change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import Factory, field, frozen, validators

from argo_mw import Argo, BadParameter, ConfigError, Note, Outcome, Secret, SecretUrl
from argo_mw.base.secret import STARS
from argo_mw.config import load, parse, structure
from argo_mw.flags import Rule
from argo_mw.flags.parse import parse_rule
from argo_mw.plugin import fingerprint, redact
from argo_mw.testing import FakePlugin, Scripted


@frozen
class Inner:
    depth: int = 1


@frozen
class Example:
    """A plugin's configuration."""

    ratio: float = field(default=0.5, validator=validators.lt(1))
    name: str = "x"
    key: Secret | None = None
    file: Path | None = None
    inner: Inner = field(factory=Inner)
    anything: object = None


def test_no_file_is_a_working_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert (SecretUrl("sqlite"), "default") == (settings.argo.shared, settings.argo.tenant)


def test_a_file_is_found_where_people_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "argo.toml").write_text('[argo]\ntenant = "here"')
    (tmp_path / "other.toml").write_text('[argo]\ntenant = "there"')
    monkeypatch.chdir(tmp_path)
    assert load().argo.tenant == "here"
    monkeypatch.setenv("ARGO_MW_CONFIG", str(tmp_path / "other.toml"))
    assert load().argo.tenant == "there"
    assert load(tmp_path / "argo.toml").argo.tenant == "here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[argo", "is not valid TOML"),
        (b"\xff", "cannot be read"),
        (b"[argo]\ntenat = 'x'", "unknown key 'argo.tenat': did you mean 'tenant'"),
        (b"[argo]\ntenant = 1", "argo.tenant: expected text, got 1"),
        (b"[argo]\nstrict = 1", "argo.strict: expected true or false, got 1"),
        (b"[argo]\nstartup_timeout = 0", "'startup_timeout' must be > 0"),
        (
            b"[operations.bars]\ntimeout = '1'",
            "operations.bars.timeout: expected a number, got text",
        ),
        (b"[upstreams.a]\nretries = 1.5", "upstreams.a.retries: expected a whole number"),
        (b"[upstreams.a]\nper_day = true", "upstreams.a.per_day: expected a whole number"),
        (b"[argo]\nblock = ['a', 1]", r"argo.block\[1\]: expected text, got 1"),
        (b"[zzz]", "unknown key 'zzz': known are argo, flags, operations, plugins, upstreams"),
        (b"source = 'x'", "unknown key 'source'"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "argo.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load(file)
    assert "argo.toml" in str(caught.value)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file at .*nope.toml"):
        load(tmp_path / "nope.toml")


def test_the_environment_fills_in_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "acme")
    settings = parse({"argo": {"tenant": "${WHO}-1", "block": ["${WHO}"]}})
    assert (settings.argo.tenant, settings.argo.block) == ("acme-1", ("acme",))


def test_a_variable_that_is_not_set_is_an_error_that_says_so() -> None:
    with pytest.raises(
        ConfigError, match="argo.tenant takes its value from .* NOBODY, which is not"
    ):
        parse({"argo": {"tenant": "${NOBODY}"}})


def test_a_plugin_s_table_becomes_its_class() -> None:
    table = {"ratio": 0, "key": "s3cret", "file": "~/x", "inner": {"depth": 2}, "anything": [1]}
    config = structure(table, Example, where="here")
    assert config == Example(0.0, "x", Secret("s3cret"), Path("~/x").expanduser(), Inner(2), [1])
    assert structure({"key": Secret("a")}, Example, where="").key == Secret("a")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"inner": {"dept": 1}}, "here: unknown key 'inner.dept': did you mean 'depth'"),
        ({"inner": {"depth": "deep"}}, "here: inner.depth: expected a whole number, got text"),
        ({"key": 5}, "key: expected text"),
        ({"file": 5}, "file: expected a path, got 5"),
        ({"ratio": 2}, "'ratio' must be < 1"),
        ({"raito": 1, "nmae": "x"}, "'nmae': did you mean 'name'.*; .*'raito'.*'ratio'"),
        ({"inner": 5}, "inner: expected a table, got 5"),
    ],
)
def test_a_plugin_s_table_is_checked(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        structure(table, Example, where="here")


def test_a_secret_is_seen_nowhere() -> None:
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {[secret]} {Example(key=secret)}"
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert (bool(secret), bool(Secret(""))) == (True, False)


def test_a_secret_is_never_part_of_a_key() -> None:
    with pytest.raises(BadParameter, match="no stable fingerprint"):
        fingerprint({"key": Secret("hunter2")})


# -- Tables by operation -----------------------------------------------------------------------


@frozen
class ByOperation:
    """A plugin's table, with tables by operation."""

    operations: Mapping[str, int] = Factory(dict)


async def test_a_plugin_s_table_for_an_operation_that_nobody_offers_is_refused(open_argo) -> None:
    plugin = FakePlugin(config=ByOperation)
    config = {"plugins": {"mine": {"operations": {"barz": 1}}}}
    with pytest.raises(ConfigError, match=r"\[plugins\.mine\.operations\.barz\].*'bars'"):
        async with open_argo(Scripted("a", ["bars"]), config=config, plugins={"mine": plugin}):
            pass
    config = {"plugins": {"mine": {"operations": {"bars": 1}}}}
    async with open_argo(Scripted("a", ["bars"]), config=config, plugins={"mine": plugin}) as argo:
        assert "A" == await argo.call("bars", symbol="A")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_of_any_editor_is_read(tmp_path: Path, codec: str, newline: str) -> None:
    file = tmp_path / "argo.toml"
    file.write_bytes(f"[argo]{newline}tenant = 'Zürich'{newline}".encode(codec))
    assert "Zürich" == load(file).argo.tenant


def test_a_file_that_is_not_utf_8_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "argo.toml"
    file.write_text("[argo]\n", "utf-16")
    with pytest.raises(ConfigError, match=r"argo.toml cannot be read: .*; save it as UTF-8"):
        load(file)


@frozen
class Numbers:
    whole: int = 0
    maybe: int | None = None
    ratio: float = 0.0
    yes: bool = False
    many: tuple[int, ...] = ()
    by_name: Mapping[str, float] = Factory(dict)


def _filled(table: Mapping[str, object]) -> Mapping[str, object]:
    return parse({"plugins": {"numbers": table}}).plugins["numbers"]


def test_the_environment_fills_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    monkeypatch.setenv("SHARE", "0.25")
    monkeypatch.setenv("YES", "True")
    written = {
        "whole": "${PORT}",
        "maybe": "${PORT}",
        "ratio": "${SHARE}",
        "yes": "${YES}",
        "many": [1, "${PORT}"],
        "by_name": {"a": "${PORT}"},
    }
    config = structure(_filled(written), Numbers, where="here")
    assert Numbers(8080, 8080, 0.25, True, (1, 8080), {"a": 8080.0}) == config
    settings = parse(
        {"upstreams": {"a": {"per_day": "${PORT}"}}, "operations": {"b": {"timeout": "${SHARE}"}}}
    )
    assert 8080 == settings.upstreams["a"].per_day
    assert 0.25 == settings.operations["b"].timeout
    monkeypatch.setenv("LONG", "1h30m")
    durations = {"a": {"ttl": "${PORT}", "grace": "${LONG}"}}
    operations = parse({"operations": durations}).operations
    assert (8080.0, 5400.0) == (operations["a"].ttl, operations["a"].grace)
    flags = parse({"flags": {"race": {"percent": "${SHARE}"}}}).flags
    assert Rule("off", percent=0.25) == parse_rule("race", flags["race"])


@pytest.mark.parametrize(
    ("field_name", "wanted"),
    [("whole", "a whole number"), ("ratio", "a number"), ("yes", "true or false")],
)
def test_text_of_the_environment_that_is_no_number_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, field_name: str, wanted: str
) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    with pytest.raises(ConfigError) as caught:
        structure(_filled({field_name: "${KEY}"}), Numbers, where="here")
    expected = f"here: {field_name}: expected {wanted}, got other text from the environment"
    assert expected == str(caught.value)


def test_a_number_that_is_written_as_text_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="whole: expected a whole number, got text"):
        structure(_filled({"whole": "8080"}), Numbers, where="here")


@pytest.mark.parametrize("changed", [str.lower, str.upper, str], ids=["lower", "upper", "as it is"])
def test_a_secret_in_another_case_and_one_line_of_several_are_struck_out(changed):
    Secret("First-Line0123456789\r\n  Second-Line/+ 987654321\nshort\n")
    for shown in (
        "First-Line0123456789",
        "Second-Line/+ 987654321",
        "Second-Line%2F%2B%20987654321",
    ):
        assert f"no {STARS} here" == redact(f"no {changed(shown)} here")
    assert "short" == redact("short")


def test_a_note_shows_no_secret():
    Secret("canary-of-a-note-0123")
    outcome = Outcome(1, notes=(Note("a", "used canary-of-a-note-0123"),))
    assert "canary" not in repr(outcome.shaped_by("b", "CANARY-OF-A-NOTE-0123").notes).lower()


@pytest.mark.parametrize("shared", ["${KEY}", "redis-${KEY}", "${KEY}://host"])
async def test_a_key_in_the_place_of_a_url_is_not_shown(shared, monkeypatch):
    monkeypatch.setenv("KEY", "Canary-In-No-Url-0123")
    with pytest.raises(ConfigError, match="shared") as caught:
        async with Argo.open({"argo": {"shared": shared}}, installed=False):
            pass
    assert "canary" not in str(caught.value).lower()


@frozen
class Place:
    host: str
    path: str


@frozen
class Places:
    at: tuple[Place, ...]


def test_a_key_that_is_missing_is_said_to_be_missing() -> None:
    with pytest.raises(ConfigError, match=r"here: at\[0\]\.path: it is required, and missing"):
        structure({"at": [{"host": "x"}]}, Places, where="here")


@pytest.mark.parametrize("key", ["signing_key", "encryption_key"])
async def test_an_empty_key_is_refused_rather_than_taken_for_none(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that a deployment has forgotten to fill leaves values neither signed nor secret."""
    monkeypatch.setenv("THE_KEY", "")
    argo = Argo.open({"argo": {"shared": "memory://", key: "${THE_KEY}"}}, installed=False)
    with pytest.raises(ConfigError, match=rf"\[argo\] {key} is empty; set it, or remove it"):
        async with argo:
            raise AssertionError
