"""Collections of garbage pass over what a program has loaded when it starts."""

from __future__ import annotations

import gc

from argo_mw.plugin import freeze_heap


def test_what_is_there_is_not_looked_through_again() -> None:
    kept = [object() for _ in range(3)]
    freeze_heap()
    try:
        assert gc.get_freeze_count() > 0
        assert all(one is not kept for one in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(one is kept for one in gc.get_objects())
