"""The files that the page about deployment shows, and what they run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deploy.md"
_FILE = re.compile(
    r"`(?P<name>[^`\n]+\.(?:service|yaml|toml)|Dockerfile)`[^`]*?(?:`[^`]*`[^`]*?)*?\n\n"
    r"(?:<!-- not run: .+? -->\n)?```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def files() -> Mapping[str, str]:
    """Return the text of each file that the page shows, by its name."""
    return {
        m["name"].rpartition("/")[2]: m["text"] for m in _FILE.finditer(PAGE.read_text("utf-8"))
    }


def services() -> Mapping[str, dict[str, Any]]:
    """Return the services of the compose file."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(files()["compose.yaml"])
    return table["services"]


def commands() -> Iterable[list[str]]:
    """Return the words of each command of ours, in services and in units."""
    for service in services().values():
        if str(service["image"]).startswith("argo-mw:"):
            yield [str(word) for word in service["command"]]
    for name, text in files().items():
        if name.endswith(".service"):
            line = re.search(r"^ExecStart=(.+)$", text.replace("\\\n", " "), re.MULTILINE)
            assert line is not None, name
            words = line[1].split()
            assert ["/opt/argo-mw/bin/argo-mw", "--config", "/etc/argo-mw/argo.toml"] == words[:3]
            yield words[3:]
