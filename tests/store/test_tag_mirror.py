"""The versions that one process knows, and the snapshots that are compared with them."""

from __future__ import annotations

import pytest

from argo_mw.base.errors import BadParameter
from argo_mw.store import tag_mirror
from argo_mw.store.tag_mirror import HARD, SOFT, KnownVersions, TagMirror, is_first, new_version
from argo_mw.store.tag_snapshot import (
    EVERYTHING,
    Freshness,
    TagSnapshot,
    names_of,
    read_tag_versions,
)

A, B, C = b"\x01aaaaaaa", b"\x02bbbbbbb", b"\x03ccccccc"
FIRST = b"\x00fffffff"


class Watched:
    """A mirror that counts how often a verdict may have changed."""

    def __init__(self, max_tags: int = 10) -> None:
        self.changes = 0
        self.mirror = TagMirror(max_tags, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def learn(self, **found: KnownVersions) -> set[str]:
        return self.mirror.end_read(self.mirror.begin_read(found), found)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def known(hard: bytes = A, soft: bytes = B, *, made_up: bool = False) -> KnownVersions:
    return KnownVersions(hard, soft, 0, made_up)


@pytest.mark.parametrize(
    ("hard", "soft", "since", "held"),
    [
        *((A, B, since, held) for since, held in [(1, True), (2, True), (3, False)]),
        (FIRST, FIRST, 3, True),
        (FIRST, B, 3, False),
        (A, FIRST, 3, False),
    ],
)
def test_versions_were_held_if_they_came_before_or_were_never_replaced(
    hard: bytes, soft: bytes, since: int, held: bool
) -> None:
    assert held == KnownVersions(hard, soft, since).held_at(2)


@pytest.mark.parametrize(
    ("hard", "soft", "differs"),
    [(B, B, False), (A, B, True), (C, B, True), (B, A, True), (B, C, True)],
)
def test_versions_differ_whichever_is_the_greater(hard: bytes, soft: bytes, differs: bool) -> None:
    assert differs == known(B, B).differs(known(hard, soft))


@pytest.mark.parametrize(
    ("hard", "soft", "found"),
    [
        (B, B, Freshness.FRESH),
        *((other, B, Freshness.MISS) for other in (A, C, b"")),
        *((B, other, Freshness.STALE) for other in (A, C)),
        (A, C, Freshness.MISS),
    ],
)
def test_an_entry_is_compared_by_both_versions(
    watched: Watched, hard: bytes, soft: bytes, found: Freshness
) -> None:
    watched.learn(tag=known(B, B))
    assert found is watched.mirror.compare(TagSnapshot((("tag", hard, soft),), 0, 0))


def test_an_entry_whose_versions_are_not_known_is_a_miss_also_where_its_tag_is_unknown(
    watched: Watched,
) -> None:
    assert Freshness.MISS is watched.mirror.compare(TagSnapshot((("tag", b"", b""),), 0, 0))
    assert Freshness.UNKNOWN is watched.mirror.compare(TagSnapshot((("tag", A, B),), 0, 0))


def test_a_tag_that_is_stale_hides_no_other_that_is_unknown_or_missed(watched: Watched) -> None:
    watched.learn(stale=known(A, B), gone=known(A, B))
    stale, unknown, gone = ("stale", A, C), ("unknown", A, B), ("gone", B, B)
    for versions, found in [
        ((stale,), Freshness.STALE),
        ((stale, unknown), Freshness.UNKNOWN),
        ((unknown, stale), Freshness.UNKNOWN),
        ((stale, unknown, gone), Freshness.MISS),
    ]:
        assert found is watched.mirror.compare(TagSnapshot(versions, 0, 0))


def test_a_banned_tag_makes_a_miss_whether_it_is_known_or_not(watched: Watched) -> None:
    entry = TagSnapshot((("tag", A, B),), 0, 0)
    other = TagSnapshot((("other", A, B),), 0, 0)
    watched.mirror.ban(["tag"])
    assert Freshness.MISS is watched.mirror.compare(entry)
    assert (True, False) == (watched.mirror.bans(entry), watched.mirror.bans(other))
    watched.learn(tag=known(A, B))
    assert Freshness.MISS is watched.mirror.compare(entry)
    watched.mirror.ban([])
    assert Freshness.FRESH is watched.mirror.compare(entry)


def test_an_entry_of_another_era_is_a_miss(watched: Watched) -> None:
    entry = TagSnapshot((("tag", A, B),), 0, 0)
    watched.mirror.forget_everything()
    watched.learn(tag=known(A, B))
    assert Freshness.MISS is watched.mirror.compare(entry)
    assert Freshness.FRESH is watched.mirror.compare(TagSnapshot((("tag", A, B),), 1, 0))


# -- reading ---------------------------------------------------------------------------------------


def test_of_a_read_all_is_kept_but_what_was_replaced_meanwhile(watched: Watched) -> None:
    tokens = watched.mirror.begin_read(["replaced", "kept"])
    watched.mirror.replace(HARD + "replaced", C)
    found = {"replaced": known(), "kept": known()}
    assert {"kept"} == watched.mirror.end_read(tokens, found)
    assert None is watched.mirror.get("replaced")
    assert known() == watched.mirror.get("kept")


def test_reads_that_overlap_all_end_when_their_tag_is_replaced(watched: Watched) -> None:
    early, late = watched.mirror.begin_read(["tag"]), watched.mirror.begin_read(["tag"])
    assert {"tag"} == watched.mirror.end_read(early, {"tag": known(A)})
    watched.mirror.replace(HARD + "tag", C)
    assert set() == watched.mirror.end_read(late, {"tag": known(A)})
    placed = watched.mirror.get("tag")
    assert placed is not None
    assert C == placed.hard


def test_no_trace_is_left_of_reads_that_have_ended(watched: Watched) -> None:
    early, late = watched.mirror.begin_read(["tag"]), watched.mirror.begin_read(["tag"])
    watched.mirror.end_read(late, {})
    assert ["tag"] == list(watched.mirror._reads)
    watched.mirror.end_read(early, {})
    assert {} == watched.mirror._reads


def test_what_was_kept_longest_makes_room_for_what_is_new() -> None:
    watched = Watched(max_tags=2)
    for name in ("a", "b"):
        watched.learn(**{name: known()})
    assert (2, 0) == (len(watched.mirror), watched.changes)
    watched.learn(b=known())
    assert (2, 0) == (len(watched.mirror), watched.changes)
    watched.learn(c=known())
    assert (2, 1) == (len(watched.mirror), watched.changes)
    assert None is watched.mirror.get("a")


@pytest.mark.parametrize("other", [known(C, B), known(A, A)])
def test_verdicts_are_made_anew_when_a_read_finds_another_version(
    watched: Watched, other: KnownVersions
) -> None:
    watched.learn(tag=known(A, B))
    watched.learn(tag=known(A, B))
    assert 0 == watched.changes
    watched.learn(tag=other)
    assert 1 == watched.changes


# -- replacing and forgetting ----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "hard", "soft"), [(HARD, C, B), (SOFT, A, C)])
def test_a_placeholder_stands_for_its_version_until_the_store_has_one(
    watched: Watched, kind: str, hard: bytes, soft: bytes
) -> None:
    watched.learn(tag=known(A, B))
    watched.mirror.replace(f"{kind}tag", C)
    assert KnownVersions(hard, soft, 1) == watched.mirror.get("tag")
    watched.mirror.confirm(f"{kind}tag", C, FIRST)
    confirmed = watched.mirror.get("tag")
    assert confirmed is not None
    assert FIRST == (confirmed.hard if kind == HARD else confirmed.soft)


@pytest.mark.parametrize("kind", [HARD, SOFT])
@pytest.mark.parametrize("other", [A, C])
def test_what_stands_in_a_placeholder_s_stead_is_forgotten(
    watched: Watched, kind: str, other: bytes
) -> None:
    watched.learn(tag=known(B, B))
    watched.mirror.confirm(f"{kind}tag", other, FIRST)
    assert None is watched.mirror.get("tag")


def test_only_what_was_made_up_here_is_forgotten(watched: Watched) -> None:
    watched.learn(theirs=known(), ours=known(made_up=True))
    watched.mirror.forget_made_up()
    assert (None, known()) == (watched.mirror.get("ours"), watched.mirror.get("theirs"))
    assert 1 == watched.changes


def test_what_was_made_up_here_is_offered_to_the_store(watched: Watched) -> None:
    watched.learn(theirs=known(), ours=known(A, B, made_up=True))
    for _ in ("while it is mirrored", "when it is to be read again"):
        assert (A, B) == tuple(watched.mirror.made_up(f"{kind}ours") for kind in (HARD, SOFT))
        assert b"" == watched.mirror.made_up(HARD + "theirs") == watched.mirror.made_up(HARD + "x")
        watched.mirror.offer_made_up()
    assert None is watched.mirror.get("ours")


def test_forgetting_what_is_not_known_changes_no_verdict(watched: Watched) -> None:
    watched.mirror.forget("tag")
    assert (0, 0) == (watched.changes, watched.mirror.ticks)
    watched.learn(tag=known())
    watched.mirror.forget("tag")
    assert (1, 1) == (watched.changes, watched.mirror.ticks)


@pytest.mark.parametrize(
    ("drawn", "version"),
    [(b"\x00random!", b"\x01random!"), (b"\x01random!", b"\x01random!"), (A, A)],
)
def test_a_new_version_is_unlike_one_that_was_never_replaced(
    monkeypatch: pytest.MonkeyPatch, drawn: bytes, version: bytes
) -> None:
    monkeypatch.setattr(tag_mirror, "random_bytes", lambda _: drawn)
    assert version == new_version()
    assert (True, False, False) == (is_first(FIRST), is_first(version), is_first(b""))


# -- tags and snapshots ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "kept"),
    [
        ("a" * 400, True),
        ("a" * 401, False),
        ("ü" * 200, True),
        ("ü" * 200 + "a", False),
        ("half \ud800", False),
    ],
    ids=ascii,
)
def test_a_tag_of_up_to_400_bytes_is_kept_as_it_is(tag: str, kept: bool) -> None:
    [name] = names_of([tag], everything=False)
    assert kept == (name == tag)
    assert kept or (name.startswith("#") and 49 == len(name))


def test_each_tag_is_named_once_with_the_one_that_every_entry_has() -> None:
    assert ["b", "a", EVERYTHING] == names_of(["b", "a", "b"])
    assert ["a"] == names_of(["a"], everything=False)
    with pytest.raises(BadParameter, match="not the string 'a'"):
        names_of("a")


def test_a_snapshot_names_its_tags_and_those_whose_versions_are_not_known() -> None:
    snapshot = TagSnapshot((("a", A, B), ("b", b"", b""), (EVERYTHING, A, B)), 0, 0)
    assert ({"a", "b"}, ("b",)) == (snapshot.tags, snapshot.unknown)


@pytest.mark.parametrize(
    "version",
    [(1, A, B), ("a", "A", B), ("a", A, "B"), ("a", A), ("a", A, B, C), 5],
)
def test_versions_of_another_form_are_refused(version: object) -> None:
    for versions in ([version, (EVERYTHING, A, B)], [(EVERYTHING, A, B), version]):
        with pytest.raises(ValueError, match="a tag version must be a tag's name"):
            read_tag_versions(versions)


def test_versions_of_an_entry_are_read_back_wherever_everything_stands() -> None:
    versions = (("a", A, B), (EVERYTHING, A, B), ("z", A, B))
    assert versions == read_tag_versions(list(map(list, versions)))
    with pytest.raises(ValueError, match="was not made by load"):
        read_tag_versions(versions[::2])


@pytest.mark.parametrize(("random", "version"), [(A, A), (FIRST, b"\x01fffffff")])
def test_a_version_that_replaces_another_is_never_taken_for_a_first_one(
    monkeypatch: pytest.MonkeyPatch, random: bytes, version: bytes
) -> None:
    monkeypatch.setattr(tag_mirror, "random_bytes", lambda _: random)
    assert version == new_version()
    assert not is_first(new_version())


def test_what_was_made_up_is_offered_by_its_kind(watched: Watched) -> None:
    watched.learn(mine=known(A, B, made_up=True), theirs=known(A, B))
    for _ in range(2):
        assert (A, B) == tuple(watched.mirror.made_up(kind + "mine") for kind in (HARD, SOFT))
        assert (b"", b"") == tuple(watched.mirror.made_up(kind + "theirs") for kind in (HARD, SOFT))
        watched.mirror.offer_made_up()
