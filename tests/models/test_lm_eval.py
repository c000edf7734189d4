"""lm-eval's model classes behind mibe's protocol: local ones beside our own, APIs against a scripted server."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import platformdirs
import pytest

import mibe
from mibe.errors import ModelError, UsageError
from mibe.judge.judges import load_judge
from mibe.models import list_models, load_model
from mibe.models.base import ChoiceRequest, Message, Request, Sampling

pytest.importorskip("lm_eval")

TEXTS = ["A man of 54 has chest pain.", "Which drug?", "The patient was given 5 mg of warfarin", "No."]


def ask(text, *, max_new_tokens=12, stop=(), temperature=0.0):
    return Request((), text, Sampling(max_new_tokens=max_new_tokens, stop=stop, temperature=temperature))


def generate(model, requests):
    found = dict(model.generate(requests))
    assert sorted(found) == list(range(len(requests)))
    return [found[index] for index in range(len(requests))]


# Names and arguments


def test_names_are_those_of_lm_eval():
    assert "lm_eval:NAME" in list_models()
    with pytest.raises(UsageError, match="did you mean lm_eval:anthropic-chat"):
        load_model("lm_eval:antropic-chat")
    with pytest.raises(UsageError, match="unknown model 'lm_eval:'"):
        load_model("lm_eval:")


def test_without_lm_eval_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.api.registry", None)
    with pytest.raises(ModelError, match=r'pip install "mibe\[lm-eval\]"'):
        load_model("lm_eval:dummy")


@pytest.mark.parametrize(
    ("name", "args", "error", "says"),
    [
        (
            "anthropic-completions",
            {"model": "claude-2.1"},
            ModelError,
            "cannot load anthropic-completions: .*anthropic",
        ),
        ("gguf", {}, ModelError, "cannot load gguf: must pass `base_url`"),
        ("hf", {"pretrained": "/no/such/folder"}, ModelError, "there is no such folder"),
        ("hf", {"at_once": "0"}, UsageError, "at least 1"),
        ("dummy", {"chat_template": "on"}, UsageError, "must be auto"),
        ("local-completions", {"auth_token": "tell-nobody"}, UsageError, "auth_token= is not taken"),
    ],
)
def test_what_is_wrong_is_one_line(monkeypatch, name, args, error, says):
    # The package may be there; then it is the key that is missing.
    monkeypatch.setitem(__import__("sys").modules, "anthropic", None)
    with pytest.raises(error, match=says) as caught:
        load_model(f"lm_eval:{name}", args)
    assert "\n" not in str(caught.value) and "tell-nobody" not in str(caught.value)


def test_a_missing_key_ends_a_run_at_its_first_request(monkeypatch, tmp_path):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    model = load_model("lm_eval:anthropic-chat", {"model": "claude"})
    assert model.is_remote and model.is_chat
    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY"):
        mibe.evaluate(model=model, tasks="pubmedqa", limit=20, output_dir=tmp_path)


def test_a_judge_may_be_one(server):
    judge = load_judge(f"lm_eval:local-chat-completions:model=m,base_url={server.url}/v1/chat/completions")
    assert judge.name == "m"
    judge.close()


# Local classes


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    pytest.importorskip("torch")
    from tiny_models import save_tiny_llama

    from mibe.models.local.demo import demo_path

    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ.get("MIBE_TEST_CACHE_DIR") or platformdirs.user_cache_dir("mibe")
        patch.setenv("MIBE_CACHE_DIR", cache)
        try:
            folder = demo_path()
        except ModelError as error:
            pytest.skip(str(error))
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama", folder)


@pytest.mark.parametrize("chat_template", ["auto", "off"])
def test_the_class_hf_gives_the_text_of_our_hf(tiny, chat_template):
    args = {"pretrained": str(tiny), "device": "cpu", "dtype": "float32", "chat_template": chat_template}
    ours, theirs = load_model("hf", args), load_model("lm_eval:hf", {**args, "batch_size": "2"})
    assert theirs.is_chat == ours.is_chat == (chat_template == "auto")
    assert not theirs.is_remote and theirs.context_window == ours.context_window == 512
    prompts = [ours.render([Message(role="user", content=text)]) for text in TEXTS]
    assert prompts == [theirs.render([Message(role="user", content=text)]) for text in TEXTS]
    free = generate(ours, [ask(text) for text in prompts])
    requests = [ask(text, stop=(free[0].text[8:11],)) for text in prompts]
    expected, found = generate(ours, requests), generate(theirs, requests)
    assert [response.text for response in found] == [response.text for response in expected]
    assert [response.prompt_tokens for response in found] == [response.prompt_tokens for response in expected]
    assert expected[0].finish_reason == found[0].finish_reason == "stop"
    cut = generate(theirs, [ask(text, max_new_tokens=1) for text in prompts])
    assert {(response.finish_reason, response.new_tokens) for response in cut} == {("length", 1)}
    choices = [ChoiceRequest(text, (" A", " warfarin and more")) for text in prompts[:3]] + [ChoiceRequest("x", ())]
    scored = dict(theirs.loglikelihood(choices))
    for index, values in ours.loglikelihood(choices):
        assert scored[index] == pytest.approx(values, abs=1e-3)


def test_identity_is_content_class_and_settings(tiny):
    def identity(**args):
        return load_model("lm_eval:hf", {"pretrained": str(tiny), "device": "cpu", **args}).identity

    base = identity()
    assert base["model"] == "lm_eval:hf" and base["pretrained"].keys() == {"sha256"}
    assert identity(batch_size="3", at_once="2") == base
    assert identity(dtype="bfloat16") != base != identity(chat_template="off")


def test_the_class_dummy_answers_a_whole_run(tmp_path):
    args = {"chat_template": "off"}  # The class would fetch a tokenizer from the hub for the sake of its template.
    run = mibe.evaluate(model="lm_eval:dummy", model_args=args, tasks="pubmedqa", limit=5, output_dir=tmp_path)
    rows = [json.loads(line) for line in (run.path / "samples" / "pubmedqa.jsonl").read_text().splitlines()]
    assert [row["output"] for row in rows] == ["lol"] * 5


# A scripted server


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.status = {}
        self.finish = {}
        self.instead = None
        self.asked = []

    def handle_error(self, request, client_address):
        # lm-eval hangs up on what is under way when another request fails; the server would print that.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat = "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        self.server.asked.append((prompt, body))
        status = next((code for mark, code in self.server.status.items() if mark in prompt), 200)
        text = f"<{prompt.split()[-1]}>"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}} if chat else {"index": 0, "text": text}
        for mark, reason in self.server.finish.items():
            if mark in prompt:
                choice["finish_reason"] = reason
        body = self.server.instead or {"choices": [choice]}
        answer = json.dumps(body if status == 200 else {"error": prompt}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def api(server, kind="local-completions", **args):
    path = "chat/completions" if "chat" in kind else "completions"
    base = {"model": "m", "base_url": f"{server.url}/v1/{path}", "tokenizer_backend": "None", "max_retries": "1"}
    return load_model(f"lm_eval:{kind}", base | args)


@pytest.mark.parametrize("kind", ["local-completions", "local-chat-completions"])
@pytest.mark.parametrize("concurrent", ["1", "8"])
def test_one_bad_request_is_one_error(server, kind, concurrent, capfd):
    server.status = {"BAD": 400}
    model = api(server, kind, num_concurrent=concurrent)
    assert model.is_chat == ("chat" in kind) and not model.is_remote and model.context_window is None
    texts = [f"question {'BAD' if n in (3, 17) else n}" for n in range(20)]
    found = generate(model, [ask(model.render([Message(role="user", content=text)])) for text in texts])
    for number, response in enumerate(found):
        if number in (3, 17):
            assert (response.finish_reason, response.text) == ("error", "") and "400" in response.error
        else:
            assert (response.text, response.finish_reason, response.new_tokens) == (f"<{number}>", "stop", None)
    good = [prompt for prompt, _ in server.asked if "BAD" not in prompt]
    # Answers that were there before another request failed are kept; those under way at that moment are asked again.
    assert len(good) <= (18 if concurrent == "1" else 18 + 2 * 8 * 5)
    assert server.asked[0][1]["max_tokens"] == 12 and server.asked[0][1]["temperature"] == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["local-completions", "local-chat-completions"])
@pytest.mark.parametrize("concurrent", ["1", "4"])
def test_why_a_server_ended_an_answer_is_not_lost(server, kind, concurrent):
    server.finish = {"LONG": "length", "BROKEN": "abort", "DECLINED": "content_filter", "GOOD": "stop"}
    model = api(server, kind, num_concurrent=concurrent)
    texts = ["LONG", "plain", "BROKEN", "DECLINED", "GOOD"]
    found = generate(model, [ask(model.render([Message(role="user", content=text)])) for text in texts])
    assert [response.finish_reason for response in found] == ["length", "stop", "error", "filter", "stop"]
    assert [response.text for response in found] == ["<LONG>", "<plain>", "", "<DECLINED>", "<GOOD>"]
    assert found[2].error == "the answer was broken off (finish_reason 'abort')"
    assert type(found[0].text) is str


@pytest.mark.parametrize(("reason", "cut"), [("length", True), ("stop", False)])
def test_what_ended_a_reasoning_is_what_the_server_says(server, reason, cut):
    server.finish = {"think": reason}
    model = api(server)
    (response,) = generate(model, [Request((), "q think", Sampling(max_new_tokens=4, thinking_budget=8))])
    assert server.asked[0][1]["max_tokens"] == 12
    assert (response.text, response.answer_at) == ("<think>", None)
    assert (response.finish_reason, response.budget_cut) == (reason, cut)


@pytest.mark.parametrize("concurrent", ["1", "4"])
def test_an_error_of_status_200_is_an_error_and_no_text(server, concurrent):
    server.instead = {"error": {"message": "upstream is gone", "code": 502}}
    model = api(server, "local-chat-completions", num_concurrent=concurrent)
    (response,) = generate(model, [ask(model.render([Message(role="user", content="q")]))])
    assert (response.finish_reason, response.text) == ("error", "") and "upstream is gone" in response.error


@pytest.mark.parametrize("concurrent", ["1", "2"])
def test_odd_replies_are_errors_or_texts_that_files_can_hold(server, concurrent):
    model = api(server, num_concurrent=concurrent)
    for choices, text in (
        ([{"index": 0, "text": "yes \ud800\0", "finish_reason": "stop"}], "yes \ufffd\ufffd"),
        ([{"index": "x", "text": "yes", "finish_reason": "stop"}], ""),
        ([{"index": 9, "text": "yes"}], ""),
        ([5], ""),
        ({"a": 1}, ""),
    ):
        server.instead = {"choices": choices}
        (response,) = generate(model, [ask("question")])
        assert (response.text, response.finish_reason) == (text, "stop" if text else "error"), choices


def test_stop_strings_are_sent_and_kept(server):
    (response,) = generate(api(server), [ask("one two>three", stop=("two",))])
    assert server.asked[0][1]["stop"] == ["two"] and response.text == "<"


def test_a_wrong_key_ends_the_run(server):
    server.status = {"": 401}
    with pytest.raises(ModelError, match="401"):
        list(api(server).generate([ask("one"), ask("two")]))
    assert len(server.asked) == 1


def test_a_server_that_is_down_ends_the_run_and_keeps_what_was_answered(server):
    server.status = {"later": 503}
    model = api(server)
    answers = model.generate([ask(f"now {n}") for n in range(3)] + [ask(f"later {n}") for n in range(50)])
    with pytest.raises(ModelError, match="10 requests failed one after the other.*503.*Every response so far is kept"):
        for number, (_, response) in enumerate(answers):
            assert response.finish_reason == ("stop" if number < 3 else "error")
    assert len(server.asked) == 13


def test_prompts_that_a_server_refuses_by_the_dozen_do_not_end_a_run(server):
    server.status = {"long": 400}
    found = generate(api(server), [ask(f"long {n}") for n in range(30)] + [ask("short")])
    assert [response.finish_reason for response in found] == ["error"] * 30 + ["stop"]


def test_a_chat_api_takes_no_plain_text(server):
    assert api(server, "local-chat-completions", chat_template="off").is_chat
    with pytest.raises(ModelError, match="gives no likelihoods"):
        list(api(server, "local-chat-completions").loglikelihood([ChoiceRequest("a", ("b",))]))


def test_a_whole_run_over_the_server(server, tmp_path):
    server.status = {"Do mitochondria": 400}
    run = mibe.evaluate(
        model="lm_eval:local-chat-completions",
        model_args={"model": "m", "base_url": f"{server.url}/v1/chat/completions", "max_retries": "1"},
        tasks="pubmedqa",
        limit=6,
        output_dir=tmp_path,
    )
    rows = [json.loads(line) for line in (run.path / "samples" / "pubmedqa.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and run.record["model"]["is_remote"] is False


# Where text goes


@pytest.mark.parametrize(
    ("kind", "args", "remote"),
    [
        ("local-completions", {}, False),
        ("local-completions", {"base_url": "http://localhost:1/v1/completions"}, False),
        ("local-completions", {"base_url": "http://[::1]:1/v1/completions"}, False),
        ("local-completions", {"base_url": "http://10.0.0.7:8000/v1/completions"}, True),
        ("local-completions", {"base_url": "http://localhost.example.org/v1/completions"}, True),
        ("openai-chat-completions", {"base_url": "https://api.openai.com/v1/chat/completions"}, True),
        ("anthropic-chat", {"base_url": "https://api.anthropic.com/v1/messages"}, True),
        ("gguf", {}, False),
        ("gguf", {"base_url": "http://gpu-server:8000"}, True),
        ("textsynth", {"engine": "gptj_6B"}, True),
    ],
)
def test_text_stays_only_where_that_is_certain(server, monkeypatch, kind, args, remote):
    monkeypatch.setenv("TEXTSYNTH_API_SECRET_KEY", "x")
    base = {} if kind == "textsynth" else {"base_url": f"{server.url}/v1/completions"}
    if kind not in ("gguf", "textsynth"):
        base |= {"model": "m", "tokenizer_backend": "None"}
    assert load_model(f"lm_eval:{kind}", base | args).is_remote == remote


def test_a_proxy_between_is_remote(server, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    assert api(server).is_remote
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not api(server).is_remote


def test_every_name_of_lm_eval_has_a_place():
    from lm_eval.models import MODEL_MAPPING

    from mibe.models.locality import IN_PROCESS, SERVERS

    assert set(MODEL_MAPPING) >= IN_PROCESS | SERVERS
