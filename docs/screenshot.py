"""Take the picture of the dashboard that README shows: ``python docs/screenshot.py [PATH]``.

Signals of the demo flow through the chain while Debian's Chromium looks at the page. ``make docs``
takes a new picture for the site, where Chromium and Playwright are installed.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from argo_mw.plugin import Argo, plugin_of

PLACE = Path("assets", "dashboard.png")
"""Where the picture is, below the folder of the documentation."""

_SIZE = {"width": 1_280, "height": 1_000}
_SECONDS = 25.0
_LEFT_OUT = ("llm", "persist", "similarity", "metrics", "rollout")
"""What would say that it lacks a key, or has nothing to show in the demo."""


def browser() -> str | None:
    """Return the browser that takes pictures here, or ``None``."""
    if find_spec("playwright") is None:
        return None
    return shutil.which("chromium") or shutil.which("chromium-browser")


async def take(path: Path, program: str) -> None:
    """Take the picture with the browser *program*, and write it to *path*."""
    from argo_mw_sandbox.watch import watch

    opened: asyncio.Future[Argo] = asyncio.get_running_loop().create_future()
    said: Callable[[Argo], object] = opened.set_result
    watching = asyncio.create_task(watch(opens=False, block=_LEFT_OUT, said=said))
    try:
        watching.add_done_callback(lambda _: opened.cancel())
        await _look(_address(await opened), path, program)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _address(argo: Argo) -> str:
    from argo_mw_dashboard import DashboardPlugin

    shown = plugin_of(argo, DashboardPlugin).shown
    assert shown is not None
    return shown.url


async def _look(url: str, path: Path, program: str) -> None:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = await chromium.new_page(viewport=_SIZE)  # type: ignore[arg-type]
        await page.goto(url)
        await asyncio.sleep(_SECONDS)
        path.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=path)
        await chromium.close()


def main() -> None:
    """Take the picture that README shows."""
    program = browser()
    if program is None:
        sys.exit("taking pictures needs `apt-get install chromium` and `pip install playwright`")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / PLACE
    asyncio.run(take(path, program))
    print(path)


if __name__ == "__main__":
    main()
