"""What is meant for one server reaches no other: real servers on loopback, of which the second must hear nothing."""

import socket
import threading

import pytest
from api_clients import answers, clients
from api_requests import requests
from api_server import Answer, error, prompt_of, said, serving

from mibe.errors import ModelError
from mibe.models import load_model
from mibe.models.locality import ElsewhereError, Hold, held, hold_to, kept, server_here, this_machine

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def through(monkeypatch):
    """Let the environment name a proxy."""

    def name(server):
        for variable in PROXIES:
            monkeypatch.setenv(variable, f"http://127.0.0.1:{server.server_port}")
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)

    return name


def completed(number, body):
    return Answer(body={"choices": [{"index": 0, "text": prompt_of(body), "finish_reason": "stop"}]})


def api(server, **args):
    pytest.importorskip("lm_eval")
    base = {"model": "m", "base_url": f"{server.url}/completions", "tokenizer_backend": "None", "max_retries": "1"}
    return load_model("lm_eval:local-completions", base | args)


@pytest.mark.parametrize("concurrent", ["1", "2"])
def test_a_class_of_lm_eval_is_led_nowhere_by_a_redirect(concurrent):
    def led(number, body):
        return Answer(307, {}, {"Location": f"{other.url}/completions"})

    with serving(completed) as other, serving(led) as server:
        model = api(server, num_concurrent=concurrent)
        assert not model.is_remote
        with pytest.raises(ElsewhereError, match=f"was led to 127.0.0.1:{other.server_port}, by a redirect or a proxy"):
            answers(model, requests(3))
        assert len(server.requests) > 0 and other.requests == []


def test_a_class_of_lm_eval_that_finds_a_proxy_later_is_stopped_before_it(through):
    with serving(completed) as proxy, serving(completed) as server:
        model = api(server)
        assert [response.text for response in answers(model, requests(1))] == ["[user]\nquestion 0"]
        through(proxy)
        with pytest.raises(ElsewhereError, match="name the server itself"):
            answers(model, requests(1))
        assert proxy.requests == []


def test_the_tokenizer_of_a_server_is_held_to_it_as_well(through):
    with serving() as proxy, serving(completed) as server:
        server.other = {
            ("GET", "/tokenizer_info"): lambda path, raw: Answer(body={"eos_token": "</s>"}),
            ("POST", "/tokenize"): lambda path, raw: Answer(body={"tokens": [1, 2]}),
        }
        model = api(server, tokenizer_backend="remote", tokenized_requests="False")
        assert model.count_tokens("a note") == 2
        through(proxy)
        with pytest.raises(ElsewhereError):
            model.count_tokens("a note")


@pytest.mark.parametrize("key", ["sk-canary\n4711", "sk-canary-é4711"])
def test_a_key_that_no_header_can_hold_is_not_quoted_by_lm_evals_libraries(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving(completed) as server:
        with pytest.raises(ModelError, match="the key that lm-eval reads from the environment is none") as caught:
            api(server)
        assert "canary" not in str(caught.value) and server.requests == []


def test_a_key_is_not_in_what_a_server_says_through_lm_eval(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-4711")
    with serving(lambda number, body: Answer(body={"error": "no Bearer sk-\\u0063anary-4711"})) as server:
        [response] = answers(api(server), requests(1))
    assert response.finish_reason == "error" and response.error.endswith("no Bearer [key]")


def test_a_trusted_server_is_asked_itself_and_nobody_else(through):
    """0.0.0.0 is no loopback address by name, and reaches this machine: it plays the hospital's server."""

    def script(number, body):
        return said("yes") if number == 0 else Answer(307, {}, {"Location": f"{other.url}/chat/completions"})

    with serving() as other, serving(script) as server, clients(max_wait="0.05", timeout="5") as make:
        through(other)
        address = f"http://0.0.0.0:{server.server_port}/v1"
        assert make(server, base_url=address).is_remote
        model = make(server, base_url=address, trusted_endpoint="yes")
        assert not model.is_remote
        assert [response.text for response in answers(model, requests(1))] == ["yes"]
        with pytest.raises(ModelError, match="status 307"):
            answers(model, requests(1))
        assert other.requests == []


def test_a_remote_server_is_asked_through_the_proxy_of_the_environment(through, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    with serving(lambda number, body: said("by the proxy")) as proxy, clients(max_wait="0.05", timeout="5") as make:
        through(proxy)
        model = make(proxy, base_url="http://api.example/v1")
        assert [response.text for response in answers(model, requests(1))] == ["by the proxy"]
        assert proxy.requests[0][1]["host"] == "api.example"


@pytest.mark.parametrize(
    ("address", "port", "reached"),
    [("127.0.0.1", 8000, True), ("127.0.0.9", 8000, True), ("::1", 8000, True)]
    + [("127.0.0.1", 8001, False), ("192.0.2.1", 8000, False), ("::ffff:192.0.2.1", 8000, False)],
)
def test_a_name_of_this_machine_that_has_another_address_is_another_machine(address, port, reached):
    assert server_here("http://localhost:8000/v1")(address, port) is reached


def test_the_addresses_of_this_machine():
    assert all(this_machine(address, 1) for address in ("127.0.0.1", "::1", "127.8.8.8", "0.0.0.0"))
    assert not any(this_machine(address, 1) for address in ("192.0.2.1", "2001:db8::1", "no address"))


def test_every_connection_of_a_thread_is_held_and_afterwards_none():
    with serving() as server:
        place = ("127.0.0.1", server.server_port)
        with held(Hold(server_here("http://127.0.0.1:1"))), pytest.raises(ConnectionRefusedError, match="is not the"):
            socket.create_connection(place)
        socket.create_connection(place).close()

        def swallowing():
            try:
                socket.create_connection(place)
            except OSError:
                return "all is well"

        with pytest.raises(ElsewhereError):
            kept(server_here("http://127.0.0.1:1"), swallowing)
        assert kept(server_here(server.url), swallowing) is None


def test_errors_of_a_server_stay_errors_of_one_request():
    with serving(lambda number, body: error(400, "too long")) as server:
        [response] = answers(api(server), requests(1))
    assert response.finish_reason == "error" and "400" in response.error


@pytest.mark.parametrize("address", ["239.1.1.1", "255.255.255.255", "ff02::1", "8.8.8.8"])
def test_an_address_that_others_share_is_none_of_this_machine(address):
    assert not this_machine(address, 9)


def test_where_any_address_can_be_bound_the_loopback_ones_alone_are_this_machine_s(monkeypatch):
    own = socket.gethostbyname(socket.gethostname())
    monkeypatch.setattr("mibe.models.locality._binds_any_address", lambda: True)
    assert this_machine("127.0.0.1", 9) and (own.startswith("127.") or not this_machine(own, 9))


def test_a_held_process_holds_the_threads_that_libraries_start():
    refused: list[str] = []

    def elsewhere():
        for kind, send in (
            (socket.SOCK_STREAM, lambda s: s.connect(("192.0.2.1", 9))),
            (socket.SOCK_DGRAM, lambda s: s.sendmsg([b"x"], [], 0, ("192.0.2.1", 9))),
            (socket.SOCK_DGRAM, lambda s: s.sendto(b"x", ("192.0.2.1", 9))),
        ):
            with socket.socket(socket.AF_INET, kind) as made:
                try:
                    send(made)
                except ConnectionRefusedError as error:
                    refused.append(str(error))

    hold_to(Hold(this_machine))
    try:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    finally:
        hold_to(None)
    assert refused == ["192.0.2.1:9 is not the server that was named"] * 3
