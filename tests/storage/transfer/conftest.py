"""A store of each kind: a folder, S3 without and with signatures checked."""

import pytest
from yard_bundles import office_at


@pytest.fixture(params=["folder", pytest.param("moto", marks=pytest.mark.slow), "rclone"])
def shared(request, tmp_path):
    """(url, environment) of a store that nobody used."""
    if request.param == "folder":
        return str(tmp_path / "store"), {}
    way = request.getfixturevalue(request.param).fresh()
    return way.url, way.env


@pytest.fixture
async def here(shared, tmp_path):
    """An office on the store."""
    async with office_at(tmp_path / "here", *shared) as office:
        yield office


@pytest.fixture
async def there(shared, tmp_path):
    """The office of another server on the same store."""
    async with office_at(tmp_path / "there", *shared) as office:
        yield office


@pytest.fixture
async def local(tmp_path):
    """An office on a folder, which tests look into."""
    async with office_at(tmp_path / "here", str(tmp_path / "store")) as office:
        yield office
