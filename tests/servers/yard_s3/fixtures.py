"""The servers as fixtures: started at their first use, one for the whole session."""

from collections.abc import Iterator

import pytest

from .servers import S3Server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto's server: conditional writes; checks no signatures; forgets all when it is stopped.

    A test that stops it must start it again. `moto.fresh()` is a prefix of a test's own.
    """
    server = S3Server("moto", tmp_path_factory.mktemp("moto")).start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """`rclone serve s3`: checks signatures; keeps its objects over `stop` and `start`."""
    server = S3Server("rclone", tmp_path_factory.mktemp("rclone")).start()
    yield server
    server.close()
