"""Fixtures for every test."""

from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public maths data that lies beside the repository."""
    if not _DATA.is_dir():
        pytest.skip(f"the public maths data is not at {_DATA}")
    return _DATA
