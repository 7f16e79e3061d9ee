"""Servers with modules written for DEEPaaS (tests/old_plugins/old_modules), unedited."""

import pytest
import requests

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364"
    "f80f00010501012718e3660000000049454e44ae426082"
)


def make_base(folder):
    """The folder that the modules take for their repository: two models, a metadata file."""
    for name in ("first", "second"):
        (folder / "models" / name).mkdir(parents=True)
    (folder / "ai4-metadata.yml").write_text("title: A title\nsummary: A summary\nname: filed\n")
    return folder


@pytest.fixture(scope="module")
def serve_old(serve_module, tmp_path_factory):
    """Starts a server with the modules named; what they write is under `server.base`."""

    def start(*models, flags=(), env=None):
        base = make_base(tmp_path_factory.mktemp("old"))
        server = serve_module(
            *("--model-name", ",".join(models), *flags),
            env={"OLD_MODULES_BASE": str(base), **(env or {})},
        )
        server.base = base
        for model in models:
            try:
                now = server.wait_ready(model)
            except requests.ConnectionError as error:
                raise AssertionError("".join(server.lines[-40:])) from error
            assert now["state"] == "ready", now
        return server

    return start


@pytest.fixture(scope="session")
def png():
    return PNG


@pytest.fixture
def old_base(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    return make_base(folder)


@pytest.fixture(scope="session")
def predictions():
    """What a module without a response schema predicted, taken out of its envelope."""

    def unpack(answer):
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "OK"
        return answer.json()["predictions"]

    return unpack
