"""Hot reload: a changed ``argo.toml`` or overlay is taken up while the application runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

from argo_mw.base.errors import ArgoError
from argo_mw.base.log import Log

log = Log("argo_mw")

Reload = Callable[[], Awaitable[None]]


async def watch(files: set[Path], reload: Reload) -> None:
    """Call *reload* whenever one of *files* was changed, made or removed, until cancelled.

    Folders are watched rather than files, since editors and ``flags set`` replace files. A
    configuration that cannot be used is logged, and the old one stays in use.
    """
    folders = {file.parent for file in files}
    names = {str(file) for file in files}
    async for changes in awatch(*folders, watch_filter=lambda _, path: path in names):
        try:
            await reload()
        except ArgoError as error:
            log.warning("reload refused, the old configuration stays", error=str(error))
        else:
            log.info("reloaded", files=sorted({path for _, path in changes}))
