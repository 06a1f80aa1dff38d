"""What must hold before a release: ``python tests/packaging/release_check.py FOLDER``.

Every distribution is packed as its source, and its wheel is built from that. Both are looked into, a
new user's first hour is spent with the wheels, and a bill of materials says what comes with them.
Nothing is uploaded.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

from first_hour import step, walk
from hatchling.build import build_sdist, build_wheel
from wheels import ROOT, projects, write_constraints

BILL = "bill-of-materials.json"


def main() -> None:
    """Run all checks, and leave what would be released in the folder that is named."""
    folder = Path(sys.argv[1]).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wheels = [pack(project, folder) for project in projects()]
    version = wheels[0].name.split("-")[1]
    check_news(version)
    for wheel in wheels:
        check_wheel(wheel, version)
    files = [*wheels, *folder.glob("*.tar.gz")]
    step(ROOT, "twine check", sys.executable, "-m", "twine", "check", "--strict", *files)
    constraints = write_constraints(wheels)
    with tempfile.TemporaryDirectory(prefix="argo-mw-release-") as made:
        walk(Path(made), constraints)
        write_bill(Path(made), constraints, folder / BILL)
    print(f"{len(files)} files of version {version} are ready in {folder}")


def check_news(version: str) -> None:
    """Check that the changelog of *version* can be written."""
    command = (sys.executable, "-m", "towncrier", "build", "--draft", "--version", version)
    if f"## {version} (" not in (news := step(ROOT, "news", *command)):
        raise SystemExit(f"the news do not name version {version}:\n{news}")


def pack(project: Path, folder: Path) -> Path:
    """Pack *project*'s source into *folder*, and build the wheel from what was packed."""
    os.chdir(project)
    source = folder / build_sdist(str(folder))
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(source) as archive:
            archive.extractall(unpacked, filter="data")
        [home] = Path(unpacked).iterdir()
        if not (home / "LICENSE").exists():
            raise SystemExit(f"{source.name} lacks the licence")
        os.chdir(home)
        wheel = folder / build_wheel(str(folder))
        os.chdir(project)
    return wheel


def check_wheel(wheel: Path, version: str) -> None:
    """Check what *wheel* holds: its package and its metadata, and nothing that runs by itself."""
    package = wheel.name.partition("-")[0]
    about = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        if strange := sorted(n for n in names if n.partition("/")[0] not in {package, about}):
            raise SystemExit(f"{wheel.name} holds what would be put beside its package: {strange}")
        if started := sorted(n for n in names if n.endswith(".pth")):
            raise SystemExit(f"{wheel.name} holds what Python runs at each start: {started}")
        metadata = BytesParser().parsebytes(archive.read(f"{about}/METADATA"))
        for needed in (f"{about}/licenses/LICENSE", f"{package}/py.typed"):
            if needed not in names:
                raise SystemExit(f"{wheel.name} lacks {needed}")
    for field in ("Project-URL", "License-Expression", "Requires-Python", "Description"):
        if field not in metadata and not (field == "Description" and metadata.get_payload()):
            raise SystemExit(f"the metadata of {wheel.name} lack {field}")


def write_bill(home: Path, constraints: Path, target: Path) -> None:
    """Write into *target* what ``argo-mw[all]`` installs, in CycloneDX's format."""
    venv.create(home / "all", with_pip=False)
    python = home / "all" / "bin" / "python"
    core = next(constraints.parent.glob("argo_mw-*.whl"))
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    step(home, "install all", *pip, "-c", constraints, f"{core}[all]")
    for origin in (home / "all").rglob("argo_mw*.dist-info/direct_url.json"):
        origin.unlink()  # where the wheel lay on this machine
    if started := sorted(p.name for p in (home / "all").rglob("*.pth") if "argo" in p.name):
        raise SystemExit(f"Python would run at each start: {started}")
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    step(home, "bill of materials", *command, "--mc-type", "library", "-o", target, python)
    if str(home) in target.read_text("utf-8"):
        raise SystemExit(f"{target} names folders of this machine")


if __name__ == "__main__":
    main()
