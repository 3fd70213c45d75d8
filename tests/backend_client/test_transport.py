"""The real transport: proxies, certificates, and reading no further ahead than it should."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backend_client import Call, FinishChunk, HttpTransport, InvalidRequest, TextChunk, TimedOut, Timeouts, Unreachable
from tests.backend_client.support import ASK, KEY, collect, open_client, provider, text_of
from tests.contract_server import TEXT, ContractServer


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        yield running


async def test_this_machine_is_reached_without_the_proxy(
    server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with open_client(provider(server.base_url)) as client:
        assert text_of((await collect(client.stream(ASK)))[0]) == TEXT


async def test_other_machines_are_reached_through_the_proxy(
    server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.base_url.removesuffix("/v1"))
    async with open_client(provider("http://gh200.example:8000/v1")) as client:
        chunks, error = await collect(client.stream(ASK))
    assert error is None
    assert text_of(chunks) == TEXT
    assert server.requests[0].path == "http://gh200.example:8000/v1/chat/completions"


async def test_a_proxy_that_refuses(server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.base_url.removesuffix("/v1"))
    async with open_client(provider("https://gh200.example/v1", max_attempts=1)) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, Unreachable)
    assert "the proxy for https://gh200.example refuses" in str(error)
    assert "NO_PROXY" in error.hint
    assert [seen.method for seen in server.requests] == ["CONNECT"]
    assert KEY not in str(server.requests)


async def test_a_name_that_cannot_be_one() -> None:
    async with open_client(provider(f"http://{'a' * 70}.example/v1")) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, InvalidRequest | Unreachable)


def self_signed(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 and its key into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "contract server")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return pem


async def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    async with ContractServer(tls) as server:
        async with open_client(provider(server.base_url)) as client:
            _, error = await collect(client.stream(ASK))
        assert isinstance(error, Unreachable)
        assert not error.retryable
        assert "SSL_CERT_FILE" in error.hint
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        async with open_client(provider(server.base_url)) as client:
            assert text_of((await collect(client.stream(ASK)))[0]) == TEXT


async def test_tls_where_there_is_none(server: ContractServer) -> None:
    async with open_client(provider(server.base_url.replace("http:", "https:"), max_attempts=1)) as client:
        _, error = await collect(client.stream(ASK))
    assert isinstance(error, Unreachable)
    assert "without TLS" in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connections on Linux only")
async def test_a_server_that_never_takes_the_connection() -> None:
    # A full backlog drops what comes next, as a firewall does.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    loop = asyncio.get_running_loop()
    try:
        port = listener.getsockname()[1]
        timeouts = Timeouts(connect=0.2)
        started = loop.time()
        async with open_client(provider(f"http://127.0.0.1:{port}/v1", timeouts=timeouts, max_attempts=1)) as client:
            _, error = await collect(client.stream(ASK))
        assert isinstance(error, TimedOut)
        assert "no connection" in str(error)
        assert loop.time() - started < 2
    finally:
        for one in (*fillers, listener):
            one.close()


async def test_a_fast_stream_comes_in_large_pieces_and_whole(server: ContractServer) -> None:
    server.plan = ["tokens:5000"]
    async with open_client(provider(server.base_url)) as client:
        chunks, error = await collect(client.stream(ASK))
    assert error is None
    assert text_of(chunks) == " token" * 5000
    assert len([chunk for chunk in chunks if isinstance(chunk, TextChunk)]) < 1000
    assert isinstance(chunks[-1], FinishChunk)


async def test_a_reader_that_does_not_read_holds_the_server_back(server: ContractServer) -> None:
    server.plan = ["flood"]
    transport = HttpTransport()
    call = Call("POST", server.base_url + "/chat/completions", {}, b"{}", Timeouts())
    reply = await transport.open(call)
    first = await anext(reply.body)
    assert first
    await asyncio.wait_for(server.requests[0].held.wait(), 5)
    assert len(await anext(reply.body)) < 256 << 10
    await reply.aclose()
    await asyncio.wait_for(server.requests[0].gone.wait(), 2)
    await transport.aclose()


async def test_cookies_are_not_kept(server: ContractServer) -> None:
    transport = HttpTransport()
    for _ in range(2):
        reply = await transport.open(
            Call("GET", server.base_url + "/cookie", {}, None, Timeouts()),
        )
        assert "set-cookie" in reply.headers
        await reply.aclose()
    assert "cookie" not in server.requests[1].headers
    await transport.aclose()


async def test_a_call_does_not_show_its_key() -> None:
    assert KEY not in repr(Call("GET", "http://h", {"authorization": KEY}, None, Timeouts()))


async def test_warming_up_sends_nothing(server: ContractServer) -> None:
    async with open_client(provider(server.base_url)) as client:
        await client.warm()
    assert server.requests == []
