"""Codecs of numpy's arrays and scalars; imported when the first one is met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from argo_mw.base.errors import NotEncodable

if TYPE_CHECKING:
    from argo_mw.store.codec.registry import Codecs

_SCALARS: Final = tuple(
    dict.fromkeys(np.dtype(char).type for char in np.typecodes["All"] if char != "O")
)


def register(codecs: Codecs) -> None:
    """Register numpy's types with *codecs*."""
    codecs.register(np.ndarray, "numpy.array", array_to_plain, array_from_plain)
    for kind in _SCALARS:
        codecs.register(kind, f"numpy.{kind.__name__}", _scalar_to_plain, _scalar_from_plain)


def array_to_plain(array: np.ndarray[Any, Any]) -> object:
    """Turn an array into its dtype, shape and bytes.

    Raises:
        NotEncodable: It holds Python objects.
    """
    if array.dtype.hasobject:
        msg = "an array of Python objects cannot be stored; give it a numeric or text dtype"
        raise NotEncodable(msg)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return [_dtype_to_plain(array.dtype), list(array.shape), order, array.tobytes(order)]  # type: ignore[arg-type]


def array_from_plain(plain: Any) -> np.ndarray[Any, Any]:
    """Turn the result of :func:`array_to_plain` back into an array, which is writable."""
    dtype, shape, order, data = plain
    flat = np.frombuffer(bytearray(data), dtype=_dtype_from_plain(dtype))
    return flat.reshape(shape, order=order)


def _dtype_to_plain(dtype: np.dtype[Any]) -> object:
    if dtype.fields is None:
        return dtype.str
    fields = dtype.fields.items()
    return [[name, _dtype_to_plain(part), offset] for name, (part, offset, *_) in fields]


def _dtype_from_plain(plain: Any) -> np.dtype[Any]:
    if isinstance(plain, str):
        dtype = np.dtype(plain)
    else:
        names, formats, offsets = zip(*plain, strict=True)
        parts = [_dtype_from_plain(part) for part in formats]
        dtype = np.dtype({"names": list(names), "formats": parts, "offsets": list(offsets)})
    if dtype.hasobject:
        msg = "an array of Python objects is never decoded"
        raise ValueError(msg)
    return dtype


def _scalar_to_plain(scalar: np.generic[Any]) -> object:
    return [_dtype_to_plain(scalar.dtype), scalar.tobytes()]


def _scalar_from_plain(plain: Any) -> Any:
    dtype, data = plain
    return np.frombuffer(data, dtype=_dtype_from_plain(dtype))[0]
