"""Commands print any text to any encoding: help, tables, JSON, errors."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from argo_mw.cli import console, print_json, say
from argo_mw.cli.group import PluginGroup
from argo_mw.cli.main import cli

ENCODINGS = ("ascii", "cp1252", "cp437", "latin-1", "utf-8", "utf-16")


def _group(text: str) -> PluginGroup:
    """Return a command line whose only command prints *text* in every way that there is."""

    @click.command("show", help="Arrows → and 漢字.")
    @click.option("--fail", is_flag=True)
    def show(fail: bool) -> None:
        table = Table("part", text)
        table.add_row(text, "→")
        console().print(table)
        console(stderr=True).print(text)
        click.echo(text)
        print_json({text: text})
        say(text)
        if fail:
            raise click.ClickException(text)

    return PluginGroup("argo-mw", commands={"show": show})


@given(st.text(st.characters(codec=None)), st.sampled_from(ENCODINGS))
def test_any_text_can_be_printed_in_any_encoding(text: str, encoding: str) -> None:
    runner = CliRunner(charset=encoding)
    printed = runner.invoke(_group(text), ["show"])
    assert (None, 0) == (printed.exception, printed.exit_code)
    failed = runner.invoke(_group(text), ["show", "--fail"])
    assert 1 == failed.exit_code
    assert isinstance(failed.exception, SystemExit)


def test_letters_that_an_encoding_lacks_are_readable() -> None:
    printed = CliRunner(charset="ascii").invoke(_group("a → b … é 漢"), ["show"])
    assert "a -> b ... \\xe9 \\u6f22" in printed.stdout
    helped = CliRunner(charset="ascii").invoke(_group(""), ["show", "--help"])
    assert "Arrows -> and \\u6f22\\u5b57." in helped.stdout


def _commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command, info_name="argo-mw")
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, *path, name)


def test_the_help_of_every_command_can_be_printed_in_any_encoding(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "commands", dict(cli.commands))  # what plugins add goes with the test
    for path in _commands(cli):
        for encoding in ("ascii", "cp1252"):
            done = CliRunner(charset=encoding).invoke(cli, [*path, "--help"])
            assert (path, None, 0) == (path, done.exception, done.exit_code)
