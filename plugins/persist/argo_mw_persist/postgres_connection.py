"""Types for the part of asyncpg's connections that is used; asyncpg has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from argo_mw.plugin import Cell
from argo_mw_persist.tables import Cells


class Connection(Protocol):
    """A connection, used by one task at a time."""

    async def execute(self, query: str, *arguments: object) -> str: ...

    async def fetch(self, query: str, *arguments: object) -> Sequence[Sequence[Cell]]: ...

    async def fetchval(self, query: str, *arguments: object) -> object: ...

    async def copy_records_to_table(
        self, name: str, *, records: Sequence[Cells], columns: Sequence[str]
    ) -> str: ...

    async def set_type_codec(
        self,
        name: str,
        *,
        schema: str,
        encoder: Callable[[bytes], bytes],
        decoder: Callable[[bytes], bytes],
        format: str,  # noqa: A002 - asyncpg's own name
    ) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[object]: ...
