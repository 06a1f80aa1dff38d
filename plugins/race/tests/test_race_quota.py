"""Hedges and races never send more than the daily quota allows, from however many processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from argo_mw.plugin import Limits

PROCESSES = 8
CHILD = Path(__file__).with_name("quota_child.py")


async def test_of_eight_processes_none_sends_the_26th_request_of_a_day(tmp_path):
    """All of them race; the shared file counts, and every refusal says when to come back."""
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(CHILD), str(tmp_path), stdout=subprocess.PIPE
        )
        for _ in range(PROCESSES)
    ]
    reports = [json.loads((await child.communicate())[0]) for child in children]
    midnights = {moment for report in reports for moment in report["retry_at"]}
    assert 25 == sum(report["sent"] for report in reports)
    assert 25 == sum(report["answered"] for report in reports)
    assert sum(report["refused"] for report in reports) == PROCESSES * 10 - 25
    assert all(moment % 86_400 == 0 for moment in midnights)
    assert 1 <= len(midnights) <= 2


async def test_a_raced_upstream_with_a_large_quota_is_charged_too(stage):
    first = stage.upstream("first", (0.1, "first"), limits=Limits(per_day=5000))
    second = stage.upstream("second", (0.2, "second"), limits=Limits(per_day=3))
    async with stage.open(first, second, strategy="race", scarce_per_day=0) as argo:
        for _ in range(6):
            assert "first" == (await stage.ask(argo)).value
        assert 3 == len(second.asked)
