"""PostgreSQL arrays in their wire format, made without a step of Python for each element where that can be.

A batch of rows travels as one array a column, for `unnest`. Elements are never null.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import Any, ClassVar

from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format

_LENGTH = struct.Struct(">i")
_HEADER = struct.Struct(">iiIii")  # dimensions, has nulls, element type, length, lower bound


class _Array:
    """The wire format of an array."""

    __slots__ = ("wire",)
    element_oid: ClassVar[int]
    array_oid: ClassVar[int]

    def __init__(self, count: int, elements: bytes) -> None:
        self.wire = _HEADER.pack(1, 0, self.element_oid, count, 1) + elements


class IntegerArray(_Array):
    """`integer[]`."""

    __slots__ = ()
    element_oid = 23
    array_oid = 1007

    def __init__(self, values: Sequence[int]) -> None:
        flat = array("i", bytes(8 * len(values)))
        flat[0::2] = array("i", [4]) * len(values)
        flat[1::2] = array("i", values)
        super().__init__(len(values), _big_endian(flat))


class BigintArray(_Array):
    """`bigint[]`."""

    __slots__ = ()
    element_oid = 20
    array_oid = 1016

    def __init__(self, values: Sequence[int]) -> None:
        pairs = [part for value in values for part in (8, value)]
        super().__init__(len(values), struct.pack(">" + "iq" * len(values), *pairs))


class TextArray(_Array):
    """`text[]`."""

    __slots__ = ()
    element_oid = 25
    array_oid = 1009

    def __init__(self, values: Sequence[str]) -> None:
        super().__init__(len(values), _with_lengths([value.encode() for value in values]))


class ByteaArray(_Array):
    """`bytea[]`."""

    __slots__ = ()
    element_oid = 17
    array_oid = 1001

    def __init__(self, values: Sequence[bytes]) -> None:
        super().__init__(len(values), _with_lengths(values))


def accept_arrays(connection: AsyncConnection[Any]) -> None:
    """Have a connection take these arrays as parameters."""
    for kind in (IntegerArray, BigintArray, TextArray, ByteaArray):
        connection.adapters.register_dumper(kind, _DUMPERS[kind])


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> bytes:
        return obj.wire


_DUMPERS = {
    kind: type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.array_oid})
    for kind in (IntegerArray, BigintArray, TextArray, ByteaArray)
}


def _with_lengths(values: Sequence[bytes]) -> bytes:
    pack = _LENGTH.pack
    return b"".join([part for value in values for part in (pack(len(value)), value)])


def _big_endian(flat: "array[int]") -> bytes:
    if array("i", [1]).tobytes()[0]:
        flat.byteswap()
    return flat.tobytes()
