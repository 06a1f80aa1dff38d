"""The sandbox in a process of its own, so that clients do not share an interpreter with it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Self
from urllib.request import Request, urlopen

from argo_mw_sandbox.admin import Change, converter, write_change
from argo_mw_sandbox.config import SandboxConfig

STOP_TIMEOUT = 10.0
ADMIN_TIMEOUT = 10.0


class SandboxProcess:
    """A sandbox in a child process; the child ends with this context, or with this process.

    The calls to a running sandbox are short and blocking: from an event loop use
    ``asyncio.to_thread``.

    Args:
        config: How it is set up.
        cpu: The core to run on, where the operating system can pin processes.

    Raises:
        RuntimeError: The child did not start; its last message is in the error.
    """

    def __init__(self, config: SandboxConfig | None = None, *, cpu: int | None = None) -> None:
        self._config = config or SandboxConfig()
        self._cpu = cpu
        self._child: subprocess.Popen[str] | None = None
        self._root = ""
        self._errors: IO[str]

    def __enter__(self) -> Self:
        """Start the child and wait until it listens."""
        command = [sys.executable, "-m", "argo_mw_sandbox", "--child"]
        if self._cpu is not None:
            command += ["--cpu", str(self._cpu)]
        pipe = subprocess.PIPE
        self._errors = tempfile.TemporaryFile("w+")
        self._child = subprocess.Popen(  # noqa: S603 (this very interpreter and module)
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(converter().unstructure(self._config)) + "\n")
        self._child.stdin.flush()
        self._root = self._child.stdout.readline().strip()
        if not self._root:
            self._child.communicate(timeout=STOP_TIMEOUT)
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines()
            self._errors.close()
            msg = f"the sandbox did not start: {lines[-1] if lines else 'it printed nothing'}"
            raise RuntimeError(msg)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        child = self._child
        if child is None:
            return
        child.terminate()
        try:
            child.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
        self._errors.close()

    @property
    def pid(self) -> int:
        """The child's process id."""
        if self._child is None:
            msg = "the sandbox is not running: enter its context first"
            raise RuntimeError(msg)
        return self._child.pid

    def url(self, vendor: str = "") -> str:
        """Return the base URL to give to a vendor's client, or the sandbox's own."""
        return f"{self._root}/{vendor}" if vendor else self._root

    def counts(self) -> dict[str, dict[str, object]]:
        """Return what each vendor counted."""
        counts: dict[str, dict[str, object]] = json.loads(
            self._send(Request(self.url() + "/__counts"))  # noqa: S310 (our own child)
        )
        return counts

    def change(self, change: Change) -> None:
        """Set faults, latencies, quotas or the replayed time, as *change* states.

        Raises:
            OSError: The sandbox refused or did not answer.
        """
        body = write_change(change)
        self._send(Request(self.url() + "/__admin", data=body))  # noqa: S310 (our own child)

    def _send(self, request: Request) -> bytes:
        with urlopen(request, timeout=ADMIN_TIMEOUT) as response:  # noqa: S310 (our own child)
            body: bytes = response.read()
        return body
