"""Compile Princeton WordNet 3.0 into the lexicon that the package ships.

Usage: ``python tools/build_lexicon.py WORDNET_DICT_DIR OUTPUT.tsv.gz``. The directory holds
WordNet's own files (``data.noun``, ``index.sense``, ``verb.exc`` …). Names of people and places,
noun compounds and glosses are left out: names are compared exactly, never through a lexicon.
"""

from __future__ import annotations

import gzip
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
SENSES = 4
"""Of a word's senses, how many of the most frequent ones count when synonyms are sought."""
DERIVED = {"+", "\\", "<"}

Key = tuple[str, int]


@frozen
class Synset:
    """One meaning: the words that share it and where it points.

    Attributes:
        lemmas: The words as written; names begin with a capital.
        pointers: Symbol, other synset, number of the word here and there (0: the synset).
    """

    lemmas: tuple[str, ...]
    pointers: tuple[tuple[str, Key, int, int], ...]


def main(source: Path, target: Path) -> None:
    """Write the lexicon of *source* to *target*."""
    synsets = {key: synset for p in PARTS for key, synset in _synsets(source, p)}
    words = _words(source, synsets)
    used = {
        short
        for parts in words.values()
        for ids in parts.values()
        for short in ids.split(":")[1].split(",")
    }
    related = _related(synsets, words)
    with gzip.GzipFile(target, "wb", compresslevel=9, mtime=0) as out:
        for lemma in sorted(words):
            parts = [p + words[lemma][p] for p in PARTS if p in words[lemma]]
            kinds = [k + ",".join(sorted(related[lemma][k])) for k in "!+" if related[lemma][k]]
            out.write("\t".join(["w", lemma, *parts, *kinds]).encode() + b"\n")
        for key, synset in sorted(synsets.items()):
            near = sorted(
                _short(other)
                for symbol, other, _, _ in synset.pointers
                if symbol in {"@", "&", "$"} and _short(other) in used
            )
            if near and _short(key) in used:
                out.write("\t".join(["s", _short(key), ",".join(near)]).encode() + b"\n")
        for sense, members in sorted(_members(words).items()):
            if len(members) > 1:
                out.write("\t".join(["m", sense, ",".join(sorted(members))]).encode() + b"\n")
        for part, name in PARTS.items():
            for line in _lines(source / f"{name}.exc"):
                form, *bases = line.split()
                kept = [base for base in bases if part in words.get(base, ())]
                if kept and _kept(form, part):
                    out.write("\t".join(["x", f"{part}:{form}", kept[0]]).encode() + b"\n")


def _words(source: Path, synsets: dict[Key, Synset]) -> dict[str, dict[str, str]]:
    """Lemma → part of speech → ``tagged:ids``, most frequent sense first."""
    words: dict[str, dict[str, str]] = defaultdict(dict)
    for part, name in PARTS.items():
        for line in _lines(source / f"index.{name}"):
            fields = line.split()
            lemma, pointers = fields[0], int(fields[3])
            ids = [(part, int(i)) for i in fields[6 + pointers :]]
            ids = [i for i in ids if lemma in synsets[i].lemmas]
            if ids and _kept(lemma, part):
                words[lemma][part] = fields[5 + pointers] + ":" + ",".join(map(_short, ids))
    return words


def _members(words: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    """Synset → the words that have it among their most frequent senses."""
    members: dict[str, set[str]] = defaultdict(set)
    for lemma, parts in words.items():
        for ids in parts.values():
            for sense in ids.split(":")[1].split(",")[:SENSES]:
                members[sense].add(lemma)
    return members


def _related(
    synsets: dict[Key, Synset], words: dict[str, dict[str, str]]
) -> dict[str, dict[str, set[str]]]:
    """Lemma → ``!`` (antonyms) and ``+`` (same root) → lemmas."""
    related: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for synset in synsets.values():
        for symbol, other, from_word, to_word in synset.pointers:
            if from_word and (symbol == "!" or symbol in DERIVED):
                a, b = synset.lemmas[from_word - 1], synsets[other].lemmas[to_word - 1]
                if a in words and b in words and a != b:
                    kind = "!" if symbol == "!" else "+"
                    related[a][kind].add(b)
                    related[b][kind].add(a)
    return related


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if not line.startswith("  ")]


def _synsets(source: Path, part: str) -> Iterator[tuple[Key, Synset]]:
    for line in _lines(source / f"data.{PARTS[part]}"):
        fields = line.split(" | ")[0].split()
        size = int(fields[3], 16)
        lemmas = tuple(word.split("(")[0] for word in fields[4 : 4 + 2 * size : 2])
        at = 4 + 2 * size
        pointers = []
        for i in range(int(fields[at])):
            symbol, offset, pos, numbers = fields[at + 1 + 4 * i : at + 5 + 4 * i]
            other = ("a" if pos == "s" else pos, int(offset))
            pointers.append((symbol, other, int(numbers[:2], 16), int(numbers[2:4], 16)))
        yield (part, int(fields[0])), Synset(lemmas, tuple(pointers))


def _short(key: Key) -> str:
    return f"{key[0]}{key[1]:x}"


def _kept(lemma: str, part: str) -> bool:
    single = lemma.replace("-", "").isalpha()
    phrasal = part in "vr" and lemma.count("_") == 1 and lemma.replace("_", "").isalpha()
    return single or phrasal


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
