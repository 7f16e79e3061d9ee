"""A certificate that is renewed while the port is open: new connections have it."""

import asyncio
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest

from modelyard.api.port.tls import Certificate

EVERY_S = 0.05


def made(folder, name):
    """A certificate and its key, each in a file."""
    paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-keyout", str(paths[1]), "-out", str(paths[0])],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return paths


def as_der(path):
    return ssl.PEM_cert_to_DER_cert(path.read_text())


async def shown(port, protocols=("http/1.1",)):
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    told = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return told


async def comes_about(true):
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(EVERY_S)


@asynccontextmanager
async def by_http(certificate):
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        yield server.sockets[0].getsockname()[1], ("http/1.1",)


@asynccontextmanager
async def by_grpc(certificate):
    grpc = pytest.importorskip("grpc")
    from modelyard.api.grpc.port import _configured

    configured = _configured(certificate)
    server = grpc.aio.server()
    credentials = grpc.dynamic_ssl_server_credentials(configured(), configured)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port, ("h2",)
    await server.stop(None)


@pytest.mark.parametrize("opened", [by_http, by_grpc])
async def test_a_renewed_certificate_is_shown_to_new_connections_and_half_a_one_is_not(
    tmp_path, opened
):
    first, second = made(tmp_path, "first"), made(tmp_path, "second")
    cert, key = (shutil.copy(path, tmp_path / f"used-{path.name}") for path in first)
    certificate = Certificate(cert, key)
    following = asyncio.ensure_future(certificate.follow(EVERY_S))
    async with opened(certificate) as (port, protocols):
        assert await shown(port, protocols) == as_der(first[0])
        shutil.copy(second[0], cert)
        for text in (None, "", "no certificate"):
            if text is not None:
                cert.write_text(text)
            await asyncio.sleep(10 * EVERY_S)
            assert await shown(port, protocols) == as_der(first[0]), (
                "as long as its key is not here"
            )
        shutil.copy(second[0], cert)
        shutil.copy(second[1], key)

        async def renewed():
            return await shown(port, protocols) == as_der(second[0])

        await comes_about(renewed)
    following.cancel()
