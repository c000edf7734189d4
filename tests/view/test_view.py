"""The overview of runs: who is let in, what it tells of those that go on, stop or are damaged, and the pages below."""

import json
import os
import socket
import threading

import pytest
from scripted import Scripted
from viewed import viewing

import mibe
from mibe.cli import main

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from mibe.rating.access import Access
from mibe.view.app import ASSETS, Desk, application
from mibe.view.live import Runs
from mibe.view.shelf import Shelf

HOST = "127.0.0.1:8000"
BASE = f"http://{HOST}"


def evaluated(base, name, answer, **settings):
    model = Scripted(answer, identity=name)
    model.name = name
    arguments = {"tasks": "pubmedqa", "limit": 12, "resamples": 20} | settings
    return mibe.evaluate(model=model, output_dir=base / "runs", use_cache=False, **arguments)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("view")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        evaluated(base, "first", lambda _: "yes")
        evaluated(base, "second", lambda _: "no")
    return base / "runs"


@pytest.fixture
def desk(runs, tmp_path):
    return Desk(Runs([runs]), Shelf(tmp_path), Access(["reader"]), "mibe_view_8000")


def client_of(desk, *, inside=True):
    client = TestClient(application(desk, hosts=[HOST]), base_url=BASE)
    if inside:
        assert client.get(f"/enter?token={desk.access.tokens['reader']}").status_code == 200
    return client


def key_of(desk, name):
    return next(state.key for state in desk.runs.states() if state.model == name)


# --- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/runs", "/leaderboard/", "/report/{key}/", "/beside/{key}/{key}/"])
def test_nothing_is_shown_without_the_token_by_another_name_or_from_elsewhere(desk, path):
    path = path.format(key=key_of(desk, "first"))
    answer = client_of(desk, inside=False).get(path)
    assert answer.status_code == 403 and "pubmedqa" not in answer.text
    client = client_of(desk)
    assert client.get(path, headers={"Host": "evil.example:8000"}).status_code == 421
    assert client.post(path, headers={"Origin": BASE}).status_code == 405
    assert client.post(path, headers={"Origin": "http://evil.example"}).status_code == 403
    answer = client.get(path)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-frame-options"] == "DENY"


def test_a_token_works_once(desk):
    token = desk.access.tokens["reader"]
    assert client_of(desk, inside=False).head(f"/enter?token={token}").status_code == 403
    first = client_of(desk)
    assert first.get(f"/enter?token={token}").status_code == 403 and first.get("/").status_code == 200


@pytest.mark.parametrize(
    "file", ["../../secret", "%2e%2e/%2e%2e/secret", "..%2f..%2fsecret", "assets", "/etc/passwd", "data"]
)
def test_no_file_outside_a_page_is_served(desk, tmp_path, file):
    (tmp_path / "secret").write_text("secret")
    client = client_of(desk)
    place = f"/report/{key_of(desk, 'first')}"
    assert client.get(f"{place}/").status_code == 200
    answer = client.get(f"{place}/{file}")
    assert answer.status_code == 404 and "secret" not in answer.text.replace(file, "")


def test_it_listens_on_this_machine_alone_and_says_what_is_missing(runs, tmp_path, capsys):
    with viewing(runs) as address:
        host, port = address.split("/")[2].split(":")
        assert host == "127.0.0.1"
        elsewhere = next((a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)), "127.0.0.1")
        if not elsewhere.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((elsewhere, int(port)), timeout=5):
                pass
    assert main(["view", str(tmp_path / "nowhere")]) == 2
    assert "is not there" in capsys.readouterr().err


# --- what it tells ----------------------------------------------------------------------------------------------------


def test_finished_runs_have_their_figures_and_a_damaged_one_says_why(runs, tmp_path):
    record = json.loads(next(runs.glob("first-*/run.json")).read_text())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    states = {state.model: state for state in Runs([runs, tmp_path]).states()}
    (task,) = states["first"].tasks
    figure = record["tasks"]["pubmedqa"]["figures"]["accuracy"]
    assert (task.name, task.done, task.of, task.metric, task.value) == ("pubmedqa", 12, 12, "accuracy", figure["value"])
    assert states["first"].status == "finished" and states["first"].is_scored
    assert states["bad"].status == "unreadable" and "not a whole run record" in states["bad"].problem


def test_a_run_is_watched_while_it_goes_on_and_cut_off_when_its_process_is_gone(tmp_path, monkeypatch):
    at_five, go_on = threading.Event(), threading.Event()
    asked = []

    class Slow(Scripted):
        def generate(self, requests):
            for made in super().generate(requests):
                yield made
                asked.append(made)
                if len(asked) == 5:
                    at_five.set()
                    assert go_on.wait(60)

    model = Slow(lambda _: "yes", identity="slow")
    settings = {"tasks": "pubmedqa,medqa", "limit": 12, "resamples": 20, "use_cache": False}
    thread = threading.Thread(target=mibe.evaluate, kwargs={"model": model, "output_dir": tmp_path, **settings})
    thread.start()
    try:
        assert at_five.wait(60)
        watch = Runs([tmp_path])
        (state,) = watch.states()
        first, second = state.tasks
        assert state.status == "running" and not state.is_scored
        assert (first.name, first.of, second.name) == ("pubmedqa", 12, "medqa") and second.of in (12, None)
        assert 0 < first.done + second.done <= 5 and first.value is None
        lock = next(tmp_path.glob("*/run.lock"))
        held = lock.read_text()
        # A process of that number that is not there.
        lock.write_text(f"process {2**22 + 1} on {os.uname().nodename}")
        assert watch.states()[0].status == "cut off"
        lock.write_text(held)
    finally:
        go_on.set()
        thread.join(60)
    (state,) = watch.states()
    assert state.status == "finished" and [task.done for task in state.tasks] == [12, 12]


def test_a_folder_without_a_run_may_get_one(runs, tmp_path):
    watch = Runs([tmp_path])
    assert watch.states() == []
    (tmp_path / "later").symlink_to(runs, target_is_directory=True)
    assert watch.states() == []
    evaluated(tmp_path, "third", lambda _: "maybe")
    assert [state.model for state in watch.states()] == ["third"]


# --- the pages --------------------------------------------------------------------------------------------------------


def test_a_page_is_the_static_one_and_written_again_when_its_run_has_changed(desk, tmp_path):
    client, key = client_of(desk), key_of(desk, "first")
    page = client.get(f"/report/{key}/")
    assert "Run report: first" in page.text
    for reference in ("assets/page.css", "assets/report.js", "data/0/index.js"):
        assert client.get(f"/report/{key}/{reference}").status_code == 200
    written = next(tmp_path.glob("report-*/index.html"))
    before = written.stat().st_mtime_ns
    client.get(f"/report/{key}/")
    assert written.stat().st_mtime_ns == before
    os.utime(desk.runs.folders()[key] / "run.json")
    client.get(f"/report/{key}/")
    assert written.stat().st_mtime_ns > before
    assert "first beside second" in client.get(f"/beside/{key}/{key_of(desk, 'second')}/").text
    assert "2 own models" in client.get("/leaderboard/").text
    assert client.get("/report/0000/").status_code == 404


def test_every_asset_of_the_overview_is_there(desk):
    client = client_of(desk)
    assert all(client.get(f"/assets/{name}").status_code == 200 for name in ASSETS)
    assert client.get("/assets/report.js").status_code == 404


@pytest.mark.browser
def test_one_command_opens_the_runs_their_reports_the_leaderboard_and_two_beside_each_other(browser, runs):
    context = browser.new_context()
    page = context.new_page()
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    with viewing(runs) as address:
        page.goto(address)
        page.wait_for_selector(".run")
        assert sorted(page.locator(".run h2 bdi").all_inner_texts()) == ["first", "second"]
        page.get_by_role("link", name="Report of first").click()
        page.wait_for_selector("#sample dl")
        assert page.title() == "Run report: first"
        page.go_back()
        page.get_by_role("link", name="Leaderboard of all runs").click()
        page.wait_for_selector(".plot svg")
        page.go_back()
        page.wait_for_selector("#compare")
        page.locator("#compare").click()
        page.wait_for_selector("#sample .sides")
    context.close()
    assert troubles == []
