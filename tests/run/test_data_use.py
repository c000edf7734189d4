"""Credentialed text stays here: a real server on loopback plays the remote model and must never hear of it unasked.

The tasks, the model and its failures come from a plugin, and the commands run as real processes, so that all they
print, tracebacks included, is seen.
"""

import json
import os
import re
import sqlite3
import stat
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from secret_task import WORDS

from mibe.data_use import check_egress, note, without_text_in_errors
from mibe.errors import DataUseError, ModelError, RunError
from mibe.models import as_model
from mibe.models.local.dummy import DummyModel
from mibe.registry import load_task
from mibe.task import NON_COMMERCIAL, credentialed


@pytest.fixture
def server():
    """A server that keeps every byte it is sent, and its address."""
    received = []

    class Keeping(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(f"{self.path} {self.headers} {body.decode()}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"yes")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as running:
        running.received = received
        running.url = f"http://127.0.0.1:{running.server_port}/v1"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def evaluate(mibe, server, *more, tasks="secret", **model_args):
    args = ",".join(f"{key}={value}" for key, value in {"url": server.url, **model_args}.items())
    return mibe("eval", "--model", "served", "--model-args", args, "--tasks", tasks, "--limit", "4", *more)


PERMITTED = ("--allow-egress", "secret", "--agreement", "Hospital addendum 7")


def assert_no_text(*texts):
    for text in texts:
        assert not re.search("notetext", text, re.I), text


def assert_nothing_was_sent(server, done, tmp_path):
    assert done.returncode == 2
    assert server.received == []
    assert_no_text(done.stdout, done.stderr)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--num-fewshot", "2"],
        ["--allow-egress", "secret"],
        ["--allow-egress", "secret", "--agreement", "  "],
        ["--agreement", "Hospital addendum 7"],
        ["--allow-egress", "pubmedqa", "--agreement", "Hospital addendum 7"],
        ["--scoring", "generate", "--protocol", "default"],
    ],
)
def test_a_remote_model_gets_nothing_unless_task_and_agreement_are_named(mibe, server, tmp_path, flags):
    done = evaluate(mibe, server, *flags)
    assert_nothing_was_sent(server, done, tmp_path)
    assert len(done.stderr.splitlines()) == 1
    assert "secret came under the Notes Data Use Agreement 1.5 and served is remote" in done.stderr
    assert '--allow-egress secret --agreement "…"' in done.stderr and "--trusted-endpoint" not in done.stderr


def test_one_credentialed_task_among_others_stops_the_run_before_the_first(mibe, server, tmp_path):
    assert_nothing_was_sent(server, evaluate(mibe, server, tasks="pubmedqa,secret"), tmp_path)


def test_showing_a_prompt_is_sending_it_where_a_remote_model_lays_it_out(mibe, server, tmp_path):
    arguments = ("show", "secret", "--model", "served", "--model-args", f"url={server.url}")
    assert_nothing_was_sent(server, mibe(*arguments), tmp_path)
    assert WORDS[6] in mibe("show", "secret").stdout  # without a model, or with a local one, it is shown here
    assert WORDS[6] in mibe(*arguments, *PERMITTED).stdout and WORDS[6] in "".join(server.received)


def test_names_that_permit_are_checked(mibe, server, tmp_path):
    done = evaluate(mibe, server, "--allow-egress", "secrets", "--agreement", "x")
    assert_nothing_was_sent(server, done, tmp_path)
    assert "unknown task 'secrets'; did you mean secret" in done.stderr


def test_what_is_permitted_is_sent_and_stands_in_the_record_and_nothing_else_holds_text(mibe, server, tmp_path):
    done = evaluate(mibe, server, *PERMITTED, "--num-fewshot", "1")
    assert done.returncode == 0, done.stderr
    assert sum(word in "".join(server.received) for word in WORDS) == 5  # four documents and the worked example
    assert_no_text(done.stdout, done.stderr)
    [run] = (tmp_path / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    assert record["egress"] == [
        {
            "task": "secret",
            "terms": "Notes Data Use Agreement 1.5",
            "receiver": "served",
            "agreement": "Hospital addendum 7",
        }
    ]
    assert record["tasks"]["secret"]["first_prompt"] is None and record["tasks"]["secret"]["scored"] == 4
    holders = [path for path in run.rglob("*") if path.is_file() and b"notetext" in path.read_bytes()]
    assert [path.relative_to(run).as_posix() for path in holders] == ["samples/secret.jsonl"]


def test_sample_files_history_and_cache_are_for_their_owner_alone(mibe, server, tmp_path, own_folders):
    old = os.umask(0)
    try:
        assert evaluate(mibe, server, where="local").returncode == 0
        [run] = (tmp_path / "runs").iterdir()
        (run / "samples" / "secret.jsonl").chmod(0o644)  # as a copy or a restored backup may be
        assert mibe("rescore", str(run)).returncode == 0
    finally:
        os.umask(old)
    cache = own_folders / "cache" / "responses" / "responses.sqlite"
    with sqlite3.connect(cache) as database:
        assert "notetext" in "".join(value for (value,) in database.execute("SELECT value FROM responses"))
    assert mode(cache) == 0o600 and mode(cache.parent) == 0o700
    assert mode(run / "samples" / "secret.jsonl") == 0o600 and mode(run / "samples") == 0o700
    assert mode(run / "history" / "1" / "samples" / "secret.jsonl") == 0o600
    assert mode(run / "history" / "1" / "samples") == 0o700
    assert_no_text((run / "run.json").read_text(), (run / "history" / "1" / "run.json").read_text())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("fail", ["exception", "model error", "response"])
def test_a_failing_server_that_quotes_the_prompt_brings_none_of_it_to_light(mibe, server, tmp_path, fail):
    done = evaluate(mibe, server, *PERMITTED, fail=fail)
    assert_no_text(done.stdout, done.stderr)
    [run] = (tmp_path / "runs").iterdir()
    assert_no_text((run / "run.json").read_text())
    assert "Traceback" not in done.stderr
    if fail == "response":
        assert done.returncode == 1 and "4 samples failed" in done.stdout
    else:
        kind = "RuntimeError" if fail == "exception" else "ModelError"
        assert done.returncode == 2
        assert re.search(
            rf"mibe: served failed on secret \({kind} at notes.py:\d+\); the message is left out", done.stderr
        )


def test_a_local_plugin_that_breaks_on_credentialed_text_is_quiet_too_and_on_open_text_is_not(mibe, server):
    secret = evaluate(mibe, server, fail="exception", where="local")
    assert_no_text(secret.stdout, secret.stderr)
    assert "RuntimeError at notes.py" in secret.stderr
    opened = evaluate(mibe, server, fail="exception", tasks="pubmedqa")
    assert "RuntimeError: 400 Bad Request: Your task is to answer" in opened.stderr


@pytest.mark.parametrize("tasks", ["pubmedqa,secret", "secret,pubmedqa"])
def test_an_error_while_a_credentialed_task_is_on_its_way_with_an_open_one_tells_no_text(mibe, server, tasks):
    """The requests of both are with the model, and nobody can say whose text its error quotes."""
    done = evaluate(mibe, server, tasks=tasks, fail="exception", where="local")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert_no_text(done.stdout, done.stderr)
    assert re.search(r"mibe: served failed on secret \(RuntimeError at notes.py:\d+\)", done.stderr)
    assert "400 Bad Request" not in done.stderr


def test_comparisons_list_ids_and_scores_and_no_text(mibe, server, tmp_path):
    assert evaluate(mibe, server, where="local").returncode == 0
    assert mibe("eval", "--model", "dummy", "--tasks", "secret", "--limit", "4").returncode == 0
    runs = [str(path) for path in (tmp_path / "runs").iterdir()]
    for form in ("text", "json", "csv", "markdown"):
        done = mibe("compare", *runs, "--list", "secret", "--format", form)
        assert done.returncode == 0 and "test-0" in done.stdout
        assert_no_text(done.stdout, done.stderr)


def remote_model():
    model = DummyModel()
    model.is_remote = True
    return model


def test_open_and_non_commercial_text_may_go_and_local_models_get_everything():
    task = load_task("pubmedqa")
    secret = replace(task, access=credentialed("DUA"))
    assert check_egress(task, remote_model()) is None
    assert check_egress(secret, DummyModel()) is None
    free = replace(task, access=NON_COMMERCIAL)
    assert check_egress(free, remote_model()) is None
    assert "non-commercial" in note(free, remote_model()) and note(free, DummyModel()) is None
    with pytest.raises(DataUseError):
        check_egress(secret, remote_model(), ["pubmedqa"], None)


def test_replaced_errors_carry_no_trace_of_the_old_one_and_our_own_pass():
    secret = replace(load_task("pubmedqa"), access=credentialed("DUA"))

    def fails(error):
        def action():
            raise error

        return action

    with pytest.raises(ModelError) as caught:
        without_text_in_errors(secret, DummyModel(), fails(ValueError("the note")))
    assert caught.value.__context__ is None and caught.value.__cause__ is None and "note" not in str(caught.value)
    with pytest.raises(RunError, match="disk full"):
        without_text_in_errors(secret, remote_model(), fails(RunError("disk full")))
    # Plugins raise this one too: it passes where mibe itself wrote it.
    with pytest.raises(ModelError, match=r"dummy failed on pubmedqa \(ModelError at test_data_use.py:\d+\)"):
        without_text_in_errors(secret, DummyModel(), fails(ModelError("a note")))
    with pytest.raises(ModelError, match="gives no likelihoods; score it by generation"):
        without_text_in_errors(secret, DummyModel(), lambda: as_model(list).loglikelihood([]))
    with pytest.raises(KeyboardInterrupt):
        without_text_in_errors(secret, remote_model(), fails(KeyboardInterrupt()))
