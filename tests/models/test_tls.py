"""Text goes to no server whose certificate does not say that it is the one that was asked."""

import shutil
import ssl
import subprocess
import threading

import pytest
from api_clients import answers, clients
from api_requests import requests
from api_server import Scripted, prompt_of, said

from mibe.errors import ModelError


@pytest.fixture
def secured(tmp_path):
    """Gives a server behind TLS whose certificate, its own issuer, is for `name`; and the certificate's file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    running = []

    def make(name):
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
        extensions = ["-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
        subprocess.run([*request, *files, *extensions], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = Scripted(lambda number, body: said(prompt_of(body)))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server, certificate

    yield make
    for server in running:
        server.shutdown()
        server.server_close()


def ask(server, **args):
    with clients(max_wait="0.02", timeout="5") as make:
        return answers(make(server, base_url=server.url.replace("http:", "https:"), **args), requests(1))


@pytest.mark.parametrize("trusted_endpoint", ["no", "yes"])
@pytest.mark.parametrize(
    ("name", "known"), [("IP:127.0.0.1", False), ("DNS:other.example", True), ("IP:127.0.0.2", True)]
)
def test_a_wrong_certificate_ends_the_run_before_anything_is_sent(name, known, trusted_endpoint, secured, monkeypatch):
    server, certificate = secured(name)
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(ModelError, match="cannot be reached .its certificate is not accepted: .*SSL_CERT_FILE names"):
        ask(server, trusted_endpoint=trusted_endpoint)
    assert server.requests == []


def test_a_certificate_that_the_environment_names_is_accepted_by_local_and_trusted_servers_too(secured, monkeypatch):
    server, certificate = secured("IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert [response.text for response in ask(server)] == ["question 0"]
