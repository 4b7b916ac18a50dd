"""The head of a GGUF file: is it whole, what does it hold, how much memory will its context take.

Only what the engine needs before it starts a server, so that a wrong file costs no start-up. The
format: ggml's `docs/gguf.md`, version 3 (little-endian).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mathlete.errors import ModelMissing

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f"},
    **{7: "?", 10: "Q", 11: "q", 12: "d"},
}
# For each type that ggml still writes: weights and bytes of a block.
_BLOCKS: dict[int, tuple[int, int]] = {
    **{0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24)},
    **{8: (32, 34), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176)},
    **{14: (256, 210), 15: (256, 292), 20: (32, 18), 23: (256, 136), 39: (32, 17)},
}
F32, Q4_1, Q8_0 = 0, 3, 8


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: its shape, fastest dimension first, and where its data lie.

    `offset` counts bytes from the beginning of the data section.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def weights(self) -> int:
        """How many numbers it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int | None:
        """Bytes of its data; None for a type that is not in the table here."""
        if self.kind not in _BLOCKS:
            return None
        per_block, size = _BLOCKS[self.kind]
        return self.weights // per_block * size


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the data. `metadata_bytes` are the key-value pairs as they stand."""

    metadata: dict[str, object]
    metadata_bytes: bytes
    tensors: tuple[Tensor, ...]
    data_offset: int

    @property
    def alignment(self) -> int:
        """Every tensor's data begin at a multiple of this many bytes."""
        return int(str(self.metadata.get("general.alignment", 32)))

    def number(self, key: str, default: int = 0) -> int:
        """An integer of the model's architecture, such as `context_length`."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture')}.{key}")
        if isinstance(value, list):  # one a layer: the largest is an upper bound
            value = max((x for x in value if isinstance(x, int)), default=default)
        return value if isinstance(value, int) else default

    @property
    def context_length(self) -> int | None:
        """Tokens the model was trained to read; None when the file does not say."""
        return self.number("context_length") or None

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory that one token of context takes, with keys and values in 16 bits."""
        heads = self.number("attention.head_count", 1)
        per_head = self.number("embedding_length") // max(1, heads)
        key = self.number("attention.key_length", per_head)
        value = self.number("attention.value_length", per_head)
        kv_heads = self.number("attention.head_count_kv", heads)
        return 2 * self.number("block_count") * kv_heads * (key + value)


def read_header(path: Path) -> Header:
    """Read and check the head of a GGUF file.

    Raises `ModelMissing` when there is no such file, when it is no GGUF, or when it is cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = _parse(file, path, size)
    except FileNotFoundError:
        raise ModelMissing(f"{path}: no such file; give a .gguf file as --model") from None
    except IsADirectoryError:
        raise ModelMissing(f"{path}: is a folder; give the .gguf file inside") from None
    except OSError as error:
        raise ModelMissing(f"{path}: cannot be read ({error.strerror})") from None
    except (struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError):
        raise ModelMissing(
            f"{path}: damaged, or cut short after {size} bytes: download it again"
        ) from None
    ends = [header.data_offset + t.offset + t.bytes for t in header.tensors if t.bytes is not None]
    if max(ends, default=0) > size:
        raise ModelMissing(
            f"{path}: cut short, {size} bytes of {max(ends)}: the download did not finish"
        )
    return header


def fingerprint(path: Path) -> str:
    """Eight hexadecimal digits that tell model files apart: of the size and of three samples.

    Not of all bytes, since a model may be hundreds of gigabytes long.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for at in (0, size // 2, max(0, size - 65536)):
            file.seek(at)
            digest.update(file.read(65536))
    return digest.hexdigest()[:8]


def _parse(file: BinaryIO, path: Path, size: int) -> Header:
    magic = file.read(4)
    if magic != MAGIC:
        raise ModelMissing(
            f"{path}: not a GGUF file (it begins with {magic!r}, not with {MAGIC!r}); "
            "convert the model with llama.cpp, or serve it and give the server's URL"
        )
    version, tensor_count, pair_count = _take(file, "IQQ")
    if version not in (2, 3):
        raise ModelMissing(f"{path}: GGUF version {version}; versions 2 and 3 can be read")
    if max(tensor_count, pair_count) > size:
        raise struct.error
    begin = file.tell()
    metadata: dict[str, object] = {}
    for _ in range(pair_count):
        key = _string(file).decode()
        metadata[key] = _value(file, _take(file, "I")[0])
    end = file.tell()
    tensors = []
    for _ in range(tensor_count):
        name = _string(file).decode()
        shape = _take(file, f"{_take(file, 'I')[0]}Q")
        kind, offset = _take(file, "IQ")
        tensors.append(Tensor(name, shape, kind, offset))
    alignment = int(str(metadata.get("general.alignment", 32)))
    data_offset = -(-file.tell() // alignment) * alignment
    file.seek(begin)
    return Header(metadata, file.read(end - begin), tuple(tensors), data_offset)


def _take(file: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = "<" + layout
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _string(file: BinaryIO) -> bytes:
    (length,) = _take(file, "Q")
    if length > 1 << 28:
        raise struct.error
    data = file.read(length)
    if len(data) != length:
        raise struct.error
    return data


def _value(file: BinaryIO, kind: int) -> object:
    if kind == _STRING:
        return _string(file).decode("utf-8", "replace")
    if kind != _ARRAY:
        return _take(file, _SCALARS[kind])[0]
    item, count = _take(file, "IQ")
    if item == _STRING:
        return [_string(file) for _ in range(count)]
    if item == _ARRAY:
        return [_value(file, item) for _ in range(count)]
    return list(_take(file, f"{count}{_SCALARS[item]}"))
