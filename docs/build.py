"""Build the documentation site: ``python docs/build.py [--serve] [--site DIR]``.

Pages link to each other and to the plugins' README files the way a repository browser follows
them. Here all of it is laid out as one tree, links rewritten, and handed to Zensical, which
refuses a link or an anchor that leads nowhere.
"""

from __future__ import annotations

import argparse
import http.server
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHANGES = ROOT / "docs" / "changes"
NEWS = "<!-- news -->\n"
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def sources() -> dict[Path, Path]:
    """Return the files of the site, each with its place in it."""
    docs = ROOT / "docs"
    files = [
        p
        for p in docs.rglob("*")
        if p.is_file() and p.suffix in {".md", ".css", ".png", ".svg"} and p.parent != CHANGES
    ]
    places = {path: path.relative_to(docs) for path in files}
    places |= {
        readme: Path("plugins", f"{readme.parent.name}.md")
        for readme in ROOT.glob("plugins/*/README.md")
    }
    places |= {
        image: Path("plugins", image.parent.name, image.name)
        for image in ROOT.glob("plugins/*/*.svg")
    }
    places[ROOT / "CHANGELOG.md"] = Path("changelog.md")
    places[ROOT / "CONTRIBUTING.md"] = Path("contributing.md")
    return places


def rewrite(page: Path, places: dict[Path, Path]) -> str:
    """Return the text of *page*, with links to other pages as they are in the site."""
    here = places[page].parent
    targets = {**places, ROOT / "README.md": Path("index.md")}

    def follow(link: re.Match[str]) -> str:
        there = targets.get((page.parent / link[2]).resolve())
        return f"{link[1]}{os.path.relpath(there, here)}{link[3]}" if there else link[0]

    text = page.read_text("utf-8")
    if NEWS in text:
        text = text.replace(NEWS, news())
    return _LINK.sub(follow, text)


def news() -> str:
    """Return what the next release will say has changed."""
    draft = ["build", "--draft", "--version", "Not released yet"]
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "towncrier", *draft],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise SystemExit(ended.stdout + ended.stderr)
    # The day on which it is built is that of no release.
    return re.sub(r"^(## .*?) \(.*\)$", r"\1", ended.stdout, flags=re.MULTILINE)


def lay_out(target: Path) -> None:
    """Write all sources into *target*, in the layout that Zensical needs."""
    shutil.rmtree(target, ignore_errors=True)
    places = sources()
    for source, place in places.items():
        written = target / place
        written.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            written.write_text(rewrite(source, places), "utf-8")
        else:
            shutil.copyfile(source, written)


def picture(target: Path) -> None:
    """Take a new picture of the dashboard for the site in *target*, where that can be done here."""
    import screenshot

    if screenshot.browser() is None:
        print("no new picture of the dashboard: Chromium or Playwright is not installed")
        return
    command = [sys.executable, str(ROOT / "docs/screenshot.py"), str(target / screenshot.PLACE)]
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        command, check=False, env=environment(), capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(ended.stdout + ended.stderr)


def environment() -> dict[str, str]:
    """Return the environment in which this checkout's code is the one that is imported."""
    path = [str(ROOT), *map(str, ROOT.glob("plugins/*/"))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def build(work: Path, *, pictures: bool = False) -> Path:
    """Build the site strictly in *work*, and return its directory.

    Args:
        work: Where it is built.
        pictures: Whether to take new pictures, where that can be done here.

    Raises:
        SystemExit: A page has a fault; the standard error shows it.
    """
    lay_out(work / "docs")
    if pictures:
        picture(work / "docs")
    for name in ("mkdocs.yml", "docs/roles.py"):
        shutil.copyfile(ROOT / name, work / Path(name).name)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        command, check=False, cwd=work, env=environment(), capture_output=True, text=True
    )
    output = _COLOUR.sub("", ended.stdout + ended.stderr)
    faults = ("Warning:", "griffe:", "mkdocstrings:")
    if ended.returncode or any(fault in output for fault in faults):
        raise SystemExit(output)
    return work / "site"


def serve(site: Path, port: int) -> None:
    """Serve *site* on loopback until interrupted."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


def main() -> None:
    """Build the site, and serve it with ``--serve``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve it on loopback")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "site", help="where to build")
    parser.add_argument("--pictures", action="store_true", help="take new pictures")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    site = build(arguments.work, pictures=arguments.pictures)
    print(f"built {sum(1 for _ in site.rglob('*.html'))} pages in {site}")
    if arguments.serve:
        serve(site, arguments.port)


if __name__ == "__main__":
    main()
