"""The kinds of plugin that there are templates for."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen
class Kind:
    """A kind of plugin.

    Attributes:
        summary: What a plugin of the kind does, in a few words.
        exports: The public names of its package.
        usage: What its README says about use.
        object: What the entry point names within the module, after a colon; "" for the module.
        dependencies: What it needs beside argo-mw and attrs.
    """

    summary: str
    exports: tuple[str, ...]
    usage: str
    object: str = ""
    dependencies: tuple[str, ...] = ()


_TABLE = """\
## Configuration

```toml
[plugins.$name]
{example}
```

"""

_FLAG = """\
## Roll it out

```sh
argo-mw flags set $name 10%
argo-mw flags kill $name
```"""

KINDS: Mapping[str, Kind] = {
    "layer": Kind(
        "Notes on answers that they were slow",
        ("SlowNotes", "Config"),
        _TABLE.format(example="slow_after = 1.0  # seconds") + _FLAG,
    ),
    "upstream": Kind(
        "Quotes from one more service",
        ("Service", "Config", "Plugin"),
        _TABLE.format(example='key = "$${${upper}_KEY}"  # from the environment')
        + _FLAG.replace("$name", "upstream.$name"),
        object=":Plugin",
        dependencies=("httpx2>=2.16",),
    ),
    "policy": Kind(
        "Answers live by what the symbol's market does",
        ("ByPhase", "Config", "Plugin"),
        '## Configuration\n\n```toml\n[plugins.adaptive_ttl]\npolicy = "$name"\n\n'
        "[plugins.$name]\nopen = 5.0  # seconds\nclosed = 600.0\n```\n\n"
        + _FLAG.replace("$name", "adaptive_ttl"),
        object=":Plugin",
        dependencies=("argo-mw-adaptive-ttl",),
    ),
    "sink": Kind(
        "Keeps a line of JSON for every call that ended",
        ("JsonLines", "Config", "Plugin"),
        _TABLE.format(example='file = "$name.jsonl"  # in the state directory')
        + _FLAG.replace("$name", "$name.lines"),
        object=":Plugin",
    ),
    "embedder": Kind(
        "Turns prompts into vectors for the similarity layer",
        ("LetterRuns", "Config"),
        '## Configuration\n\n```toml\n[plugins.similarity]\nembedder = "$name"\n```\n\n'
        + _FLAG.replace("$name", "similarity"),
        dependencies=("argo-mw-similarity", "numpy>=2"),
    ),
    "command": Kind(
        "A further command of argo-mw",
        ("Config", "command"),
        _TABLE.format(example='greeting = "flags"') + "```sh\nargo-mw $dashed\n```",
    ),
}
