"""Reading the heads of model files, whole and broken; and writing one again as Q8_0."""

import io
from pathlib import Path

import numpy as np
import pytest

from mathlete.engines.gguf import F32, Q8_0, fingerprint, read_header
from mathlete.engines.llamacpp import LlamaCppEngine
from mathlete.engines.requantize import q4_1_to_q8_0, requantize
from mathlete.errors import ModelMissing


def test_the_head_of_the_packaged_model(weights: Path) -> None:
    header = read_header(weights)
    assert header.metadata["general.architecture"] == "llama"
    assert header.context_length == 8192
    assert header.kv_bytes_per_token == 2 * 30 * 3 * (64 + 64)
    assert {tensor.kind for tensor in header.tensors} == {F32, Q8_0}
    last = header.tensors[-1]
    assert last.bytes is not None
    assert header.data_offset + last.offset + last.bytes <= weights.stat().st_size


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a GGUF file"),
        (b"<!DOCTYPE html>", "not a GGUF file"),
        (b"GGUF", "cut short"),
        (b"GGUF" + (99).to_bytes(4, "little") + bytes(16), "version 99"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16, "damaged"),
        (b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\xff" * 64, "damaged"),
    ],
)
def test_no_model(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelMissing, match=says) as raised:
        LlamaCppEngine(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("size", [100, 5_000, 2_000_000, 100_000_000])
def test_a_download_that_did_not_finish(weights: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.gguf"
    with weights.open("rb") as whole, path.open("wb") as part:
        part.write(whole.read(size))
    with pytest.raises(ModelMissing, match="cut short"):
        read_header(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no such file"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(ModelMissing, match="is a folder"):
        read_header(tmp_path)


def test_fingerprints_tell_files_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    data = bytearray(300_000)
    one.write_bytes(data)
    data[150_001] = 1
    two.write_bytes(data)
    assert fingerprint(one) != fingerprint(two)
    two.write_bytes(bytes(300_000))
    assert fingerprint(one) == fingerprint(two)


def test_q4_1_to_q8_0_stays_within_half_a_step() -> None:
    dice = np.random.default_rng(0)
    scale = dice.uniform(0, 0.1, 1000).astype("<f2")
    minimum = dice.uniform(-1, 0.2, 1000).astype("<f2")
    scale[0], minimum[0] = 0, 0  # a block of zeros
    nibbles = dice.integers(0, 16, (1000, 32), dtype=np.uint8)
    blocks = np.empty((1000, 20), np.uint8)
    blocks[:, :2] = scale.view(np.uint8).reshape(-1, 2)
    blocks[:, 2:4] = minimum.view(np.uint8).reshape(-1, 2)
    blocks[:, 4:] = nibbles[:, :16] | nibbles[:, 16:] << 4
    meant = nibbles * scale[:, None].astype(float) + minimum[:, None].astype(float)

    out = q4_1_to_q8_0(blocks)
    step = out[:, :2].copy().view("<f2").astype(float)
    got = out[:, 2:].view(np.int8) * step
    largest = np.abs(meant).max(axis=1, keepdims=True)
    # Half a step of rounding, and what the scale loses in 16 bits.
    assert np.all(np.abs(got - meant) <= 0.51 * largest / 127 + largest * 2.0**-11 + 1e-7)


def test_what_is_not_q4_1_is_copied(weights: Path) -> None:
    class Counter(io.RawIOBase):
        size, tail = 0, b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.size += len(data)
            self.tail = bytes(data[-64:]) or self.tail
            return len(data)

    out = Counter()
    requantize(weights, out)  # type: ignore[arg-type]
    assert out.size == weights.stat().st_size
    with weights.open("rb") as file:
        file.seek(-64, 2)
        assert file.read() == out.tail
