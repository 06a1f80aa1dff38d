"""Encryption at rest: what is kept can be read with one of the keys, at its place, or not at all."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import ConfigError, Secret
from argo_mw.config import parse
from argo_mw.store.codec import Codecs, EncryptionKeys, Envelope, Undecodable, UndecodableReason

NEW, OLD, OTHER = (Secret(letter * 32) for letter in "abc")
CANARY = "the prompt that must not be found"


def encrypted(*keys: Secret, signing: bytes | None = None) -> Codecs:
    return Codecs(Envelope(key=signing, encryption=EncryptionKeys(keys)))


def refused(value: object) -> bool:
    return isinstance(value, Undecodable) and value.reason is UndecodableReason.ENCRYPTION


@pytest.mark.parametrize("signing", [None, b"k" * 32], ids=["alone", "signed"])
@pytest.mark.parametrize("value", [CANARY, [CANARY] * 2000, {"a": CANARY.encode()}, None])
def test_a_value_comes_back_and_is_not_seen_in_its_bytes(value, signing):
    codecs = encrypted(NEW, signing=signing)
    data = codecs.encode(value, "k")
    assert CANARY.encode() not in data
    assert value == codecs.decode(data, "k")


def test_equal_values_are_not_seen_to_be_equal():
    codecs = encrypted(NEW)
    assert 100 == len({codecs.encode(CANARY, "k")[4:] for _ in range(100)})


def test_after_a_rotation_old_values_are_read_and_new_ones_use_the_new_key():
    before, rotated, after = encrypted(OLD), encrypted(NEW, OLD), encrypted(NEW)
    assert CANARY == rotated.decode(before.encode(CANARY, "k"), "k")
    assert CANARY == after.decode(rotated.encode(CANARY, "k"), "k")
    assert refused(after.decode(before.encode(CANARY, "k"), "k"))


def test_nothing_is_read_with_another_key_at_another_place_or_without_a_key():
    ours, theirs, clear = encrypted(NEW), encrypted(OTHER), Codecs()
    data = ours.encode(CANARY, "k")
    assert refused(theirs.decode(data, "k"))
    assert refused(clear.decode(data, "k"))
    moved = ours.decode(data, "elsewhere")
    assert isinstance(moved, Undecodable)


def test_the_place_is_bound_by_the_encryption_itself():
    keys = EncryptionKeys([NEW])
    data = keys.encrypt(b"x", b"here")
    with pytest.raises(Exception, match="belongs to another place"):
        keys.decrypt(data, b"there")


def test_a_clear_value_is_refused_once_there_is_a_key():
    for clear in (Codecs(), Codecs(Envelope(key=b"k" * 32))):
        ours = encrypted(NEW, signing=clear.envelope.key)
        assert refused(ours.decode(clear.encode(CANARY, "k"), "k"))


@pytest.mark.parametrize("signing", [None, b"k" * 32], ids=["alone", "signed"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_value_is_a_miss_and_never_an_error(signing, data):
    codecs = encrypted(NEW, signing=signing)
    whole = codecs.encode(data.draw(st.sampled_from([CANARY, "x" * 9000, 1])), "k")
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if changed and data.draw(st.booleans()):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    decoded = codecs.decode(bytes(changed), "k")
    assert isinstance(decoded, Undecodable) or bytes(changed) == whole


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=80))
def test_what_a_stranger_encloses_in_a_valid_envelope_is_refused(noise):
    keys = EncryptionKeys([NEW])
    for data in (noise, keys._start + noise):
        with pytest.raises(Exception, match=r"another place|not among"):
            keys.decrypt(data, b"")


def test_every_refusal_is_reported_and_damage_is_not():
    codecs, seen = encrypted(NEW), []
    codecs.on_refused = seen.append
    codecs.decode(Codecs().encode(1))
    codecs.decode(b"nonsense")
    assert ["not encrypted"] == [one.detail for one in seen]


def test_threads_share_the_keys():
    codecs = encrypted(NEW)

    def there_and_back(number: int) -> bool:
        return [number] * 300 == codecs.decode(codecs.encode([number] * 300, "k"), "k")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(2000)))


def test_a_short_key_and_an_empty_one_are_refused_without_being_shown():
    with pytest.raises(ConfigError, match="less than 32 characters; make one with") as caught:
        EncryptionKeys([Secret("hunter2hunter2")])
    assert "hunter2" not in str(caught.value)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"pip install 'argo-mw\[encryption\]'"):
        EncryptionKeys([NEW])


def test_the_configuration_takes_one_key_or_several(monkeypatch):
    monkeypatch.setenv("NEW", "n" * 44)
    one = parse({"argo": {"encryption_key": "${NEW}"}}).argo
    two = parse({"argo": {"encryption_key": ["${NEW}", "o" * 44]}}).argo
    assert (Secret("n" * 44),) == one.encryption_key
    assert (Secret("n" * 44), Secret("o" * 44)) == two.encryption_key
    assert "nnnn" not in repr([one, two])
    with pytest.raises(ConfigError, match=r"argo.encryption_key: expected text"):
        parse({"argo": {"encryption_key": [5]}})
