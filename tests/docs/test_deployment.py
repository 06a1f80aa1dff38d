"""The page about deployment: what its files name exists, and they hold no secret."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from argo_mw.cli.main import cli
from tests.docs.deployment import commands, files, services

OURS = [f"argo-mw-{name}.service" for name in ("migrate", "desk@", "dashboard")]


def test_the_page_shows_all_files() -> None:
    assert {"Dockerfile", "argo.toml", "compose.yaml", *OURS} == {*files()}


def test_there_are_three_instances_beside_the_gateway_and_the_dashboard() -> None:
    names = {"redis", "postgres", "migrate", "desk-1", "desk-2", "desk-3", "gateway", "dashboard"}
    assert names == {*services()}


def test_images_are_pinned() -> None:
    images = [str(service["image"]) for service in services().values()]
    base = re.search(r"^FROM (.+)$", files()["Dockerfile"], re.MULTILINE)
    assert base is not None
    for image in [*images, base[1]]:
        assert re.fullmatch(r"[a-z-]+:\d+\.\d+[\w.-]*", image), image


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published
    assert [] == [port for port in published if not port.startswith("127.0.0.1:")]


def test_no_file_holds_a_secret() -> None:
    for name, text in files().items():
        for line in text.splitlines():
            if re.search(r"password|secret|signing_key|requirepass", line, re.IGNORECASE):
                # Each value is that of a variable; comments speak of them.
                assert "$" in line or line.lstrip().startswith("#"), f"{name}: {line}"
    for service in services().values():
        assert "/etc/argo-mw/keys.env" == service["env_file"]


def test_services_wait_for_what_exists() -> None:
    table = services()
    for name, service in table.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in table
            if condition["condition"] == "service_healthy":
                assert "test" in table[other]["healthcheck"], f"{name} waits for {other}"


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_every_command_is_one_of_ours_with_its_options(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "universe.txt").write_text("AAPL\n")
    command: click.Command = cli
    context = click.Context(command, info_name="argo-mw")
    left = [word.replace("/etc/argo-mw", str(tmp_path)) for word in words]
    while isinstance(command, click.Group) and left:
        name, found, left = command.resolve_command(context, left)
        assert found is not None, words
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.parse_args(context, left)
    context.close()  # and files that it has opened


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = tmp_path / "argo-mw"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in OURS:
        text = files()[name].replace("/opt/argo-mw/bin/argo-mw", str(program))
        # Units of the distribution need not be installed here.
        text = re.sub(r"(redis-server|postgresql)\.service ?", "", text)
        (tmp_path / name.replace("@", "@1")).write_text(text)
    for name in OURS:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name.replace("@", "@1"))],
            capture_output=True,
            text=True,
            env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
            check=False,
        )
        found = [line for line in done.stderr.splitlines() if str(tmp_path) in line or name in line]
        assert [] == found
