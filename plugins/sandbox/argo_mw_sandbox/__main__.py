"""``python -m argo_mw_sandbox``: the sandbox on its own, without the rest of argo-mw."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys

from argo_mw_sandbox.admin import converter
from argo_mw_sandbox.clock import parse_instant
from argo_mw_sandbox.config import SandboxConfig
from argo_mw_sandbox.serve import serve, serve_child
from argo_mw_sandbox.server import Sandbox


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m argo_mw_sandbox", description=__doc__)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cpu", type=int, help="core to run on (Linux)")
    parser.add_argument("--port", type=int, default=8899)
    parser.add_argument("--now", help="replayed instant, such as 2012-11-16T20:00:00Z")
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    if arguments.child:
        config = converter().structure(json.loads(sys.stdin.readline()), SandboxConfig)
        asyncio.run(serve_child(config))
        return
    now = parse_instant(arguments.now) if arguments.now else None
    asyncio.run(serve(SandboxConfig(port=arguments.port, now=now), _greet))


def _greet(sandbox: Sandbox) -> None:
    print(f"sandbox at {sandbox.url()}, replaying {sandbox.clock.now():%Y-%m-%d %H:%M:%S} UTC")
    for vendor in sandbox.vendors:
        print(f"  {vendor:<13} {sandbox.url(vendor)}", flush=True)


if __name__ == "__main__":
    main()
