"""The rating page's application: who is let in, what it refuses, what it tells, what two raters do at once."""

import html
import re
import threading
from types import SimpleNamespace

import pytest
from rated_runs import CASES, JUDGE, MODELS, UNREADABLE, make_runs

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from mibe.rating.access import Access
from mibe.rating.app import ASSETS, BODY, COMMENT, Desk, application
from mibe.rating.cases import items_of
from mibe.rating.server import check_host, names_of
from mibe.rating.store import Ratings, read_reviews

HOST = "127.0.0.1:8000"
BASE = f"http://{HOST}"
COOKIE = "mibe_rating_8000"
HOSTILE = "<script>document.title='gone'</script>\"'&</bdi><img src=x onerror=alert(1)>\u202ereversed"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("rating")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIBE_CACHE_DIR", str(base / "cache"))
        patch.setenv("MIBE_DATA_DIR", str(base / "data"))
        made = make_runs(base, texts={1: f"A hostile case. {HOSTILE}"}, answers={2: f"1. {HOSTILE}\n2. Gout"})
        yield SimpleNamespace(made=made, items=items_of(made, shared=False))


@pytest.fixture
def page(runs, tmp_path):
    """The application on databases of its own, and a way in for each of two raters."""
    kept = {item.database: tmp_path / item.database.parent.parent.name / "r.sqlite" for item in runs.items}
    for path in kept.values():
        path.parent.mkdir(exist_ok=True)
    ratings = {database: Ratings(path) for database, path in kept.items()}
    access = Access(["Dr A", "Dr B"])
    desk = Desk(runs.items, ratings, access, COOKIE, 1234)
    app = application(desk, hosts=[HOST])

    def client():
        return TestClient(app, base_url=BASE, follow_redirects=False)

    def enter(rater):
        found = client()
        assert found.get(f"/enter?token={access.tokens[rater]}").status_code == 200
        return found

    yield SimpleNamespace(desk=desk, app=app, client=client, enter=enter, access=access, files=list(kept.values()))
    for each in ratings.values():
        each.close()


def csrf_of(client):
    return html.unescape(re.search(r'name="csrf" content="([^"]+)"', client.get("/case/1").text)[1])


def send(client, path, form, **changed):
    headers = {"Origin": BASE, "X-CSRF-Token": csrf_of(client)} | changed
    return client.post(path, json=form, headers={name: value for name, value in headers.items() if value is not None})


def readable(page, rater="Dr A"):
    """Numbers of the lists that can be rated, in the rater's order."""
    return [n for n, item in enumerate(page.desk.order(rater), start=1) if item.listed.diagnoses]


def written(page):
    return [read_reviews(path) for path in page.files]


def test_a_token_works_once_and_makes_a_strict_cookie(page):
    token = page.access.tokens["Dr A"]
    looking = page.client()
    assert looking.head(f"/enter?token={token}").status_code == 403
    first, second = page.client(), page.client()
    answer = first.get(f"/enter?token={token}")
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200 and "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert token not in cookie and token not in answer.text
    assert first.get("/").status_code == 200
    assert second.get(f"/enter?token={token}").status_code == 403
    assert first.get(f"/enter?token={token}").status_code == 403
    assert first.get("/").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "é", "%00", "a" * 10_000])
def test_no_other_text_is_a_token(page, token):
    assert page.client().get("/enter", params={"token": token}).status_code == 403
    assert set(page.access.tokens) == {"Dr A", "Dr B"}


@pytest.mark.parametrize("path", ["/", "/case/1"])
@pytest.mark.parametrize("cookie", [None, "", "x"])
def test_nothing_is_shown_or_written_without_a_session(page, path, cookie):
    client = page.client()
    if cookie is not None:
        client.cookies.set(COOKIE, cookie)
    answer = client.get(path)
    assert answer.status_code == 403 and "finding" not in answer.text and "start it again" in answer.text
    headers = {"Origin": BASE, "X-CSRF-Token": "x"}
    assert client.post("/case/1/mark", json={"rank": 1, "match": True}, headers=headers).status_code == 403
    assert written(page) == [{}, {}]


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "localhost.evil.example:8000", ""]
)
def test_a_foreign_host_is_refused(page, host):
    client = page.enter("Dr A")
    assert client.get("/", headers={"Host": host}).status_code == 421
    assert client.get("/assets/page.css", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "https://127.0.0.1:8000"},
        {"X-CSRF-Token": None},
        {"X-CSRF-Token": "x"},
    ],
)
def test_a_write_from_elsewhere_is_refused(page, changed):
    client = page.enter("Dr A")
    number = readable(page)[0]
    for path, form in (("mark", {"rank": 1, "match": True}), ("note", {"unsure": True, "comment": ""})):
        assert send(client, f"/case/{number}/{path}", form, **changed).status_code == 403
    assert written(page) == [{}, {}]
    assert send(client, f"/case/{number}/mark", {"rank": 1, "match": True}).status_code == 200


def test_the_csrf_token_of_another_session_does_not_do(page):
    a, b = page.enter("Dr A"), page.enter("Dr B")
    assert csrf_of(a) != csrf_of(b)
    form = {"rank": 1, "match": True}
    assert send(a, f"/case/{readable(page)[0]}/mark", form, **{"X-CSRF-Token": csrf_of(b)}).status_code == 403


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("mark", {"rank": 0, "match": True}),
        ("mark", {"rank": 11, "match": True}),
        ("mark", {"rank": True, "match": True}),
        ("mark", {"rank": "1", "match": True}),
        ("mark", {"rank": 1, "match": 1}),
        ("mark", {"match": True}),
        ("mark", [1]),
        ("note", {"unsure": None, "comment": ""}),
        ("note", {"unsure": True, "comment": "x" * (COMMENT + 1)}),
        ("note", {"unsure": True, "comment": 1}),
        ("confirm", {"matches": [1, 12], "unsure": False, "comment": ""}),
        ("confirm", {"matches": "1", "unsure": False, "comment": ""}),
    ],
)
def test_a_malformed_write_changes_nothing(page, path, form):
    client = page.enter("Dr A")
    assert send(client, f"/case/{readable(page)[0]}/{path}", form).status_code == 400
    assert written(page) == [{}, {}]


def test_bodies_that_are_no_json_or_too_long_are_refused(page):
    client = page.enter("Dr A")
    headers = {"Origin": BASE, "X-CSRF-Token": csrf_of(client)}
    address = f"/case/{readable(page)[0]}/note"
    assert client.post(address, content=b"\xff{", headers=headers).status_code == 400
    assert client.post(address, content=b"[" * 10_000, headers=headers).status_code == 400
    assert client.post(address, content=b" " * (BODY + 1), headers=headers).status_code == 413
    surrogate = client.post(address, content=b'{"unsure": false, "comment": "\\ud800 ok"}', headers=headers)
    assert surrogate.status_code == 200
    (review,) = next(part for part in written(page) if part)["Dr A"].values()
    assert review.comment == "? ok"


def test_every_answer_forbids_foreign_sources_frames_and_copies(page):
    client = page.enter("Dr A")
    answers = [
        client.get(path) for path in ("/", "/case/1", "/case/999", "/nothing", *(f"/assets/{a}" for a in ASSETS))
    ]
    answers += [page.client().get("/"), client.get("/", headers={"Host": "x"}), send(client, "/case/1/mark", {})]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 200, 200, 200, 200, 403, 421, 400]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_only_the_pages_own_files_are_served(page):
    client = page.enter("Dr A")
    for name in ("leaderboard.js", "..%2f__init__.py", "%2e%2e/templates/rating.html", "NOTICE"):
        assert client.get(f"/assets/{name}").status_code == 404


def test_no_page_tells_the_model_the_judge_the_run_or_its_verdicts(page, runs):
    client = page.enter("Dr A")
    places = [client.get("/"), *(client.get(f"/case/{n}") for n in range(1, len(runs.items) + 1))]
    secrets = [*MODELS, JUDGE, "verdict:", str(runs.made[0].path), runs.made[0].path.name, "nejm_cpc", "case-1"]
    for answer in places:
        assert answer.status_code == 200
        assert not [word for word in secrets if word in answer.text or word in str(answer.headers)]
    # The lists of both runs are mixed, and each rater has an order of their own.
    sources = [item.database for item in page.desk.order("Dr A")]
    assert len(set(sources[:8])) == 2 and page.desk.order("Dr A") != page.desk.order("Dr B")


def test_text_of_cases_and_outputs_is_escaped(page, runs):
    client = page.enter("Dr A")
    order = page.desk.order("Dr A")
    shown = [
        client.get(f"/case/{n}").text
        for n, item in enumerate(order, start=1)
        if "<script>" in "".join([*item.listed.diagnoses, *item.inputs.values()])
    ]
    assert len(shown) == 3
    for text in shown:
        assert "<script>d" not in text and "<img" not in text and "onerror=alert(1)>" not in text
        assert "&lt;script&gt;document.title=" in text
    comment = "</textarea><script>alert(1)</script>"
    number = readable(page)[0]
    assert send(client, f"/case/{number}/note", {"unsure": False, "comment": comment}).status_code == 200
    text = client.get(f"/case/{number}").text
    assert comment not in text and html.escape(comment) in text


def test_a_rating_is_made_changed_and_found_again(page):
    client = page.enter("Dr A")
    numbers = readable(page)
    first, second = numbers[:2]
    answer = send(client, f"/case/{first}/mark", {"rank": 2, "match": True}).json()
    assert answer == {"progress": {"done": 0, "of": 2 * CASES - 1}, "next": f"/case/{second}"}
    text = client.get(f"/case/{first}").text
    assert re.findall(r'value="(\d+)" autocomplete="off" checked', text) == ["2"] and "Not confirmed yet" in text
    form = {"matches": [1, 2], "unsure": True, "comment": "two names"}
    assert send(client, f"/case/{first}/confirm", form).json()["progress"]["done"] == 1
    text = client.get(f"/case/{first}").text
    assert re.findall(r'value="(\d+)" autocomplete="off" checked', text) == ["1", "2"]
    assert "Confirmed" in text and "two names" in text
    overview = client.get("/").text
    assert f'href="/case/{second}">Go on with case {second}' in overview and f"{first}?" in overview
    assert "1 output holds no list of diagnoses" in overview
    for number in numbers[1:]:
        answer = send(client, f"/case/{number}/confirm", {"matches": [], "unsure": False, "comment": ""}).json()
    assert answer["next"] == "/" and "All cases are rated" in client.get("/").text


def test_a_wrong_reference_leaves_the_case_out_of_every_list(page):
    client = page.enter("Dr A")
    order = page.desk.order("Dr A")
    first = next(
        n for n, item in enumerate(order, start=1) if item.listed.id == f"case-{UNREADABLE}" and item.listed.diagnoses
    )
    (other,) = (n for n, item in enumerate(order, start=1) if item.listed.id == f"case-{UNREADABLE}" and n != first)
    assert "state open" in client.get(f"/case/{first}").text
    answer = send(client, f"/case/{first}/leave-out", {"left_out": True}).json()
    assert answer["progress"] == {"done": 1, "of": 2 * CASES - 1}
    for number in (first, other):
        text = client.get(f"/case/{number}").text
        assert 'id="leave" autocomplete="off" checked' in text and ">Left out</span>" in text
    overview = client.get("/").text
    assert overview.count('class="left"') == 2 and overview.count("left out</small>") == 2
    assert [part["Dr A"][f"case-{UNREADABLE}"].left_out for part in written(page)] == [True, True]
    # Taken back for the one, it is taken back for the other; nobody else has heard of it.
    answer = send(client, f"/case/{other}/leave-out", {"left_out": False}).json()
    assert answer["progress"]["done"] == 0 and 'class="left"' not in client.get("/").text
    assert [list(part) for part in written(page)] == [["Dr A"], ["Dr A"]]
    assert send(client, f"/case/{first}/leave-out", {"left_out": "yes"}).status_code == 400


def test_an_output_without_a_list_says_so_and_takes_no_marks(page):
    client = page.enter("Dr A")
    (number,) = set(range(1, 2 * CASES + 1)) - set(readable(page))
    text = client.get(f"/case/{number}").text
    assert "holds no list of diagnoses. It counts as no match" in text and f"Disease {UNREADABLE}" in text
    assert "I am sorry" not in text and 'name="match"' not in text
    for path, form in (
        ("mark", {"rank": 1, "match": True}),
        ("confirm", {"matches": [], "unsure": True, "comment": ""}),
    ):
        assert send(client, f"/case/{number}/{path}", form).status_code == 400
    assert written(page) == [{}, {}]


def test_two_raters_at_once_lose_nothing_and_see_nothing_of_each_other(page):
    clients = {rater: page.enter(rater) for rater in ("Dr A", "Dr B")}
    tokens = {rater: csrf_of(client) for rater, client in clients.items()}
    failures = []

    def rate(rater, rank):
        client = clients[rater]
        for number in readable(page, rater):
            form = {"matches": [rank], "unsure": rank == 2, "comment": f"of {rater}"}
            headers = {"Origin": BASE, "X-CSRF-Token": tokens[rater]}
            for path, body in (("mark", {"rank": rank, "match": True}), ("confirm", form)):
                if (answer := client.post(f"/case/{number}/{path}", json=body, headers=headers)).status_code != 200:
                    failures.append(answer.text)

    threads = [threading.Thread(target=rate, args=who) for who in (("Dr A", 1), ("Dr B", 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for rater, rank in (("Dr A", 1), ("Dr B", 2)):
        reviews = [review for part in written(page) for review in part[rater].values()]
        assert len(reviews) == 2 * CASES - 1 and all(review.confirmed for review in reviews)
        assert {tuple(r for r, match in review.marks.items() if match) for review in reviews} == {(rank,)}
        other = "Dr B" if rater == "Dr A" else "Dr A"
        pages = [clients[rater].get(f"/case/{number}").text for number in range(1, 2 * CASES + 1)]
        assert not any(f"of {other}" in text for text in pages)


def test_two_servers_can_write_the_same_databases(page, tmp_path):
    """Two processes, as far as SQLite is concerned: connections of two threads that write at the same time."""
    item = page.desk.items[0]
    failures = []

    def write(rater):
        ratings = Ratings(page.files[0])
        try:
            for turn in range(40):
                ratings.mark(rater, item.listed, 1 + turn % 2, turn % 3 == 0)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            ratings.close()

    threads = [threading.Thread(target=write, args=(rater,)) for rater in ("Dr A", "Dr B", "Dr C")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {review.marks[2] for by in read_reviews(page.files[0]).values() for review in by.values()} == {True}


def test_a_full_disk_is_said_and_loses_nothing(page):
    client = page.enter("Dr A")
    numbers = readable(page)
    for number in numbers[:3]:
        assert send(client, f"/case/{number}/mark", {"rank": 1, "match": True}).status_code == 200
    before = written(page)
    for ratings in page.desk.ratings.values():
        pages = ratings._connection.execute("PRAGMA page_count").fetchone()[0]
        ratings._connection.execute(f"PRAGMA max_page_count = {pages}")
    long = {"unsure": True, "comment": "x" * COMMENT}
    answers = [send(client, f"/case/{number}/note", long) for number in numbers[3:]]
    kept = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 507]
    assert len(refused) > 5 and len(kept) + len(refused) == len(answers)
    assert all("full" in answer.json()["error"] for answer in refused)
    after = [part.get("Dr A", {}) for part in written(page)]
    assert sum(map(len, after)) == 3 + len(kept)
    for earlier, later in zip(before, after, strict=True):
        assert earlier.get("Dr A", {}).items() <= later.items()


def test_ratings_that_cannot_be_read_are_said_on_the_page(page):
    client = page.enter("Dr A")
    page.desk.ratings[page.desk.items[0].database].close()
    answer = client.get("/")
    assert answer.status_code == 507 and "cannot be read or written" in answer.text and "closed" in answer.text


def test_names_of_the_page():
    address = check_host("localhost", allow_network=False)
    assert names_of(address, 8000)[0] == HOST and "localhost:8000" in names_of(address, 8000)
    assert names_of(check_host("::1", allow_network=False), 8000)[0] == "[::1]:8000"
    assert names_of(address, 80)[-3:] == [HOST.split(":")[0], "localhost", "[::1]"]
    lan = check_host("192.0.2.7", allow_network=True)
    assert names_of(lan, 8000) == ["192.0.2.7:8000"]
