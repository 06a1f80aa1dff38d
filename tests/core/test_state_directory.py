"""A state directory that others can change is used, and said to be so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from argo_mw import Argo
from argo_mw.app.exposure import exposure, exposure_of_config, exposure_of_store
from argo_mw.cli.doctor import examine
from argo_mw.plugin import Trouble, observe


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(state))
    return state


async def opened(mode: int, state: Path) -> tuple[list[str], bool, str]:
    """Return the troubles of an application whose state lies there, and what the doctor finds."""
    state.chmod(mode)
    troubles: list[str] = []
    argo = Argo.open({"argo": {"shared": "memory://"}}, installed=False)

    def see(event: object) -> None:
        if isinstance(event, Trouble) and event.where == "state directory":
            troubles.append(event.what)

    observe(argo, see)
    async with argo:
        [finding] = [one for one in await examine(argo) if one.what == "state"]
    return troubles, finding.well, finding.found


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777, 0o720])
async def test_a_directory_that_others_can_change_is_reported_with_a_remedy(
    mode: int, state: Path
) -> None:
    [trouble], well, found = await opened(mode, state)
    assert f"mode {mode:04o}" in trouble
    assert f"chmod go-w {state}" in trouble
    assert (False, trouble) == (well, found)
    assert mode == state.stat().st_mode & 0o7777, "rights that are there stay as they are"


@pytest.mark.parametrize("mode", [0o700, 0o755])
async def test_a_directory_that_only_its_owner_changes_is_well(mode: int, state: Path) -> None:
    assert ([], True, str(state)) == await opened(mode, state)


def test_a_directory_of_another_user_is_reported(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: state.stat().st_uid + 1)
    os.chown(state, 4_711, -1) if os.geteuid() == 0 else pytest.skip("only root gives files away")
    assert "user 4711, who owns it" in exposure(state)


async def test_a_directory_that_others_can_replace_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = tmp_path / "above"
    state = above / "between" / "state"
    state.mkdir(parents=True)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(state))
    above.chmod(0o777)
    [trouble], well, found = await opened(0o700, state)
    assert f"who can replace it: run `chmod o-w {above}`" in trouble
    assert (False, trouble) == (well, found)
    above.chmod(0o1777)
    assert ([], True, str(state)) == await opened(0o700, state)


@pytest.mark.parametrize(("mode", "told"), [(0o666, True), (0o602, True), (0o664, False)])
async def test_a_configuration_that_all_can_change_is_reported(
    state: Path, tmp_path: Path, mode: int, told: bool
) -> None:
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\n')
    file.chmod(mode)
    troubles: list[str] = []
    argo = Argo.open(file, installed=False)

    def see(event: object) -> None:
        if isinstance(event, Trouble) and event.where == "configuration":
            troubles.append(event.what)

    observe(argo, see)
    async with argo:
        [finding] = [one for one in await examine(argo) if one.what == "configuration"]
    assert told is bool(troubles)
    assert told is not finding.well
    assert all(
        f"chmod o-w {file}" in one
        for one in (*troubles, *([] if finding.well else [finding.found]))
    )
    assert "" == exposure_of_config(tmp_path / "none")


async def test_a_file_that_all_can_change_is_reported(state: Path) -> None:
    (state / "flags.json").write_text("{}")
    (state / "flags.json").chmod(0o666)
    [trouble], well, found = await opened(0o755, state)
    assert f"chmod o-w {state / 'flags.json'}" in trouble
    assert (False, trouble) == (well, found)


@pytest.mark.parametrize(("mode", "told"), [(0o777, True), (0o775, False), (0o755, False)])
async def test_a_store_elsewhere_that_all_can_change_is_reported(
    state: Path, tmp_path: Path, mode: int, told: bool
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    folder.chmod(mode)
    troubles: list[str] = []
    argo = Argo.open({"argo": {"shared": f"sqlite:///{folder}/shared.db"}}, installed=False)

    def see(event: object) -> None:
        if isinstance(event, Trouble) and event.where == "shared store":
            troubles.append(event.what)

    observe(argo, see)
    async with argo:
        pass
    assert told is bool(troubles)
    assert all(f"chmod o-w {folder}" in one for one in troubles)


@pytest.mark.parametrize("url", ["sqlite", "memory://", "redis://host/0", "sqlite:///", "nothing"])
def test_other_stores_are_no_files(url: str) -> None:
    assert "" == exposure_of_store(url)
