"""What tests of installed packages share."""

from pathlib import Path

import pytest

from tests.support.packages import build


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels, built from the sdists, and the sdists."""
    folder = tmp_path_factory.mktemp("packages")
    build(folder)
    return folder
