"""The rating page in a real browser, served by the real command: rate, get killed, come back, meet hostile text."""

import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rated_runs import CASES, UNREADABLE, make_runs

pytest.importorskip("starlette")

from mibe.rating.cases import in_order, items_of
from mibe.rating.scores import scores
from mibe.rating.store import read_reviews

pytestmark = pytest.mark.browser

RATER = "Dr Ada"
READABLE = 2 * CASES - 1
"""Lists in both runs."""

LONG = "x" * 1_000_000
HOSTILE_NAME = "<script>document.title='gone'</script>bold"
OVERRIDE = "\u202edesrever\u2066"
TEXTS = {
    0: f"A case <script>document.title='gone'</script> with </div></main><h1>broken HTML and {OVERRIDE}.",
    1: f"A case with one long line. {LONG}",
}
ANSWERS = {
    2: f"1. {HOSTILE_NAME}\n2. A {OVERRIDE} syndrome\n3. </label></li></ol>'\"&amp;\n4. {LONG}",
    3: LONG,
}


@pytest.fixture
def runs(tmp_path):
    return make_runs(tmp_path, texts=TEXTS, answers=ANSWERS)


class Server:
    """`mibe rate` as a process."""

    def __init__(self, runs, *arguments):
        command = [sys.executable, "-m", "mibe", "rate", *(str(run.path) for run in runs), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        raters = max(1, arguments.count("--rater"))
        lines = [self.process.stdout.readline() for _ in range(raters)]
        assert all(lines), self.process.stderr.read()
        self.addresses = dict(line.strip().split(": ", 1) for line in lines)
        self.base = next(iter(self.addresses.values())).split("/enter")[0]

    def end(self, how):
        self.process.send_signal(how)
        _, news = self.process.communicate(timeout=30)
        return self.process.returncode, news


@pytest.fixture
def serve(runs):
    servers = []

    def start(*arguments):
        servers.append(Server(runs, "--rater", RATER, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


@pytest.fixture
def visit(browser):
    """Opens an address; at the end nothing was said on the console and nothing was asked of another machine."""
    contexts, troubles = [], []

    def watch(request):
        if not request.url.startswith(("data:", "http://127.0.0.1:")):
            troubles.append(request.url)

    def open_page(address, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", watch)
        page.goto(address)
        page.get_by_role("link", name=re.compile("(Begin|Go on) with case")).wait_for()
        return page

    yield SimpleNamespace(page=open_page, troubles=troubles)
    for context in contexts:
        context.close()
    assert troubles == []


def order_of(runs):
    return in_order(items_of(runs, shared=False), rater=RATER, seed=1234)


def number_of(order, case, *, run):
    """Where the list of a run for a case stands in the rater's order."""
    return next(
        n for n, i in enumerate(order, 1) if i.listed.id == f"case-{case}" and run.path == i.database.parents[1]
    )


def on_case(page):
    found = re.fullmatch(r".*/case/(\d+)", page.url)
    return int(found[1]) if found else None


def confirm(page):
    """Enter, and the next case."""
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    page.locator("#confirm:enabled, #go, strong").first.wait_for()


def saved(page):
    page.locator("#saved", has_text="Saved at").wait_for()


def test_ten_cases_by_keyboard_outlive_a_killed_server(runs, serve, visit):
    order = order_of(runs)
    server = serve()
    page = visit.page(server.addresses[RATER])
    page.keyboard.press("Tab")  # the link that skips to the content
    page.locator("#go").press("Enter")
    rated = {}
    for turn in range(10):
        page.locator("#confirm:enabled").wait_for()
        number = on_case(page)
        most = len(order[number - 1].listed.diagnoses)
        ranks = sorted({1 + turn % min(most, 10), min(most, 10)})
        for rank in ranks:
            page.keyboard.press(str(rank % 10))
        if turn == 4:
            page.keyboard.press("u")
            page.keyboard.press("c")
            page.keyboard.type("1 and 2 are one disease")
            page.keyboard.press("Escape")
        rated[number] = ranks
        confirm(page)
    assert len(rated) == 10
    # One more click without a confirmation, then the process is gone.
    eleventh = on_case(page)
    page.keyboard.press("1")
    saved(page)
    port = server.base.rsplit(":", 1)[1]
    assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL

    again = serve("--port", port)
    assert again.base == server.base and again.addresses != server.addresses
    page = visit.page(again.addresses[RATER])
    assert page.get_by_role("heading", name=f"10 of {READABLE} cases rated").is_visible()
    page.locator("#go").click()
    assert on_case(page) == eleventh and page.locator("input[name=match]").first.is_checked()
    for turn, (number, ranks) in enumerate(rated.items()):
        page.goto(f"{again.base}/case/{number}")
        checked = page.locator("input[name=match]:checked").evaluate_all("all => all.map((box) => Number(box.value))")
        assert checked == ranks and page.locator("#state").inner_text() == "Confirmed"
        assert page.locator("#unsure").is_checked() == (turn == 4)
        assert page.locator("#comment").input_value() == ("1 and 2 are one disease" if turn == 4 else "")
    assert again.end(signal.SIGINT)[0] == 0
    parts = [scores(run).get("nejm_cpc", {"unsure": 0, "scored": 0}) for run in runs]
    assert sum(part["unsure"] for part in parts) == 1
    reviews = [r for item in {i.database for i in order} for r in read_reviews(item).get(RATER, {}).values()]
    assert sum(review.confirmed for review in reviews) == 10


def test_hostile_text_is_text(runs, serve, visit):
    server, order = serve(), order_of(runs)
    page = visit.page(server.addresses[RATER])
    page.goto(f"{server.base}/case/{number_of(order, 0, run=runs[0])}")
    assert page.locator(".text").inner_text() == TEXTS[0]
    assert page.locator("main h1, .text *").count() == 0
    page.goto(f"{server.base}/case/{number_of(order, 1, run=runs[0])}")
    assert page.locator(".text").text_content() == TEXTS[1]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    number = number_of(order, 2, run=runs[0])
    page.goto(f"{server.base}/case/{number}")
    names = page.locator(".list bdi").all_inner_texts()
    assert names == list(order[number - 1].listed.diagnoses)
    assert names[0] == HOSTILE_NAME and names[1] == "A desrever syndrome" and names[2].startswith("</label>")
    assert page.locator(".list bdi *").count() == 0 and page.locator(".list label").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title().startswith("Case ")
    # A mark that turns the direction round stays within its own line.
    page.keyboard.press("2")
    saved(page)
    assert page.locator("#verdict").inner_text() == "Match at rank 2."


def test_mouse_undo_and_return(runs, serve, visit):
    server = serve()
    # The order hangs on where the runs lie, so any case may come first; three clicks need a list of more than two.
    first = next(number for number, item in enumerate(order_of(runs), 1) if len(item.listed.diagnoses) == 10)
    page = visit.page(server.addresses[RATER])
    page.goto(f"{server.base}/case/{first}")
    box = page.locator("input[name=match]").nth(2)
    page.locator(".list label").nth(2).click()
    assert box.is_checked()
    page.locator(".list label").nth(2).click()
    saved(page)
    assert page.locator("#verdict").inner_text() == "No match marked: confirm if none is right."
    page.locator(".list label").nth(1).click()
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(lambda url: not url.endswith(f"/case/{first}"))
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/case/{first}")
    assert page.locator("input[name=match]").nth(1).is_checked() and not box.is_checked()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(lambda url: not url.endswith(f"/case/{first}"))
    page.get_by_role("link", name="Overview").click()
    page.locator("#go").wait_for()
    assert page.locator(".cases .done").count() == 1
    assert page.get_by_role("progressbar").get_attribute("value") == "1"


def test_a_case_is_left_out_by_a_key_and_taken_back(runs, serve, visit):
    server, order = serve(), order_of(runs)
    here = number_of(order, UNREADABLE, run=runs[0])
    there = number_of(order, UNREADABLE, run=runs[1])
    page = visit.page(server.addresses[RATER])
    page.goto(f"{server.base}/case/{here}")
    page.locator("#confirm:enabled").wait_for()
    page.keyboard.press("x")
    saved(page)
    assert page.locator("#state").inner_text() == "Left out" and page.locator("#leave").is_checked()
    assert page.locator("#verdict").inner_text() == "Left out: this case counts for no list."
    assert page.locator("input[name=match]").first.is_disabled()
    assert page.locator("#done").inner_text().startswith("1 of ")
    confirm(page)
    assert on_case(page) not in (here, there)
    # The other run's list, which holds nothing to mark, is left out with it; there it is taken back for both.
    page.goto(f"{server.base}/case/{there}")
    assert page.locator("#state").inner_text() == "Left out"
    page.locator("#leave").click()
    saved(page)
    assert page.locator("#state").inner_text() == ""
    page.goto(f"{server.base}/case/{here}")
    page.locator("#confirm:enabled").wait_for()
    assert page.locator("#state").inner_text() == "Not confirmed yet" and not page.locator("#leave").is_checked()
    assert page.locator("input[name=match]").first.is_enabled()


def test_help_opens_by_key_and_keys_can_be_switched_off(serve, visit):
    server = serve()
    page = visit.page(server.addresses[RATER])
    page.locator("#go").click()
    page.locator("#confirm:enabled").wait_for()
    number = on_case(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    page.keyboard.press("1")
    dialog.get_by_label("Use these keys").uncheck()
    dialog.get_by_role("button", name="Close").press("Enter")
    assert not dialog.is_visible()
    for key in ("1", "Enter", "ArrowRight", "u"):
        page.keyboard.press(key)
    assert on_case(page) == number and page.locator("input:checked").count() == 0
    page.reload()
    assert not page.get_by_label("Use these keys").is_checked()


def test_a_held_key_and_typed_text_rate_nothing(serve, visit):
    server = serve()
    page = visit.page(server.addresses[RATER])
    page.locator("#go").click()
    page.locator("#confirm:enabled").wait_for()
    number = on_case(page)
    page.keyboard.down("1")
    for _ in range(3):
        page.keyboard.down("1")  # repeats, as of a key that is held
    page.keyboard.up("1")
    assert page.locator("input[name=match]").first.is_checked()
    page.locator("#comment").fill("")
    page.locator("#comment").press_sequentially("12 ? u\n3")
    assert page.locator("input[name=match]:checked").count() == 1 and on_case(page) == number
    saved(page)
    # What was typed a moment ago goes with the rater to another page.
    page.locator("#comment").press_sequentially(" more")
    page.get_by_role("link", name="Following case").click()
    page.wait_for_url(lambda url: not url.endswith(f"/case/{number}"))
    page.goto(f"{server.base}/case/{number}")
    assert page.locator("#comment").input_value() == "12 ? u\n3 more"


def test_a_click_that_is_not_saved_says_so_and_is_taken_back(serve, visit):
    server = serve()
    page = visit.page(server.addresses[RATER])
    page.locator("#go").click()
    page.locator("#confirm:enabled").wait_for()
    number = on_case(page)
    page.keyboard.press("1")
    saved(page)
    server.end(signal.SIGKILL)
    page.keyboard.press("2")
    alert = page.get_by_role("alert")
    alert.filter(has_text="Not saved: the program does not answer. Start it again").wait_for()
    checked = page.locator("input[name=match]:checked")
    assert checked.evaluate_all("all => all.map((box) => box.value)") == ["1"]
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert on_case(page) == number
    # Another process at the same place knows nothing of this session.
    again = serve("--port", server.base.rsplit(":", 1)[1])
    page.keyboard.press("3")
    alert.filter(has_text="Open the address that it printed").wait_for()
    refused = [text for text in visit.troubles if "Failed to load resource" in text]
    assert len(refused) == len(visit.troubles) == 3  # what the browser itself says of the three requests
    visit.troubles.clear()
    page = visit.page(again.addresses[RATER])
    page.goto(f"{again.base}/case/{number}")
    assert page.locator("input[name=match]:checked").evaluate_all("all => all.map((box) => box.value)") == ["1"]


def test_two_raters_have_an_address_each(serve, visit, browser):
    server = serve("--rater", "Dr Bo")
    pages = {rater: visit.page(address) for rater, address in server.addresses.items()}
    assert set(pages) == {RATER, "Dr Bo"}
    for rater, page in pages.items():
        assert page.locator("header bdi").inner_text() == rater
    pages[RATER].locator("#go").click()
    pages[RATER].locator("#confirm:enabled").wait_for()
    pages[RATER].keyboard.press("1")
    saved(pages[RATER])
    other = browser.new_context()
    refused = other.new_page()
    assert refused.goto(server.addresses[RATER]).status == 403
    assert "works once" in refused.inner_text("main")
    other.close()
    pages["Dr Bo"].reload()
    assert pages["Dr Bo"].locator(".begun, .done").count() == 0


def test_dark_phone_and_names_for_screen_readers(serve, visit):
    server = serve()
    page = visit.page(
        server.addresses[RATER],
        color_scheme="dark",
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#go").tap()
    page.locator("#confirm:enabled").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")))) < 200
    first = page.get_by_role("group", name="Which of these are the final diagnosis?").get_by_role("checkbox").first
    first.tap()
    saved(page)
    assert page.get_by_role("progressbar", name=f"0 of {READABLE} rated").count() == 1
    assert (
        page.get_by_role("textbox", name="Comment").count()
        == page.get_by_role("checkbox", name="not sure").count()
        == 1
    )
    for name in ("Previous case", "Following case, without confirming"):
        assert page.get_by_role("link", name=name).count() == 1
    unnamed = page.locator("button, a, input, textarea").evaluate_all(
        "all => all.filter((each) => !(each.ariaLabel || each.innerText || each.labels?.length)).length"
    )
    assert unnamed == 0


def test_the_buttons_stay_in_sight_beside_a_long_case(runs, serve, visit):
    server = serve()
    page = visit.page(server.addresses[RATER], viewport={"width": 1100, "height": 600})
    page.goto(f"{server.base}/case/{number_of(order_of(runs), 1, run=runs[1])}")
    for place in (0, 3000):
        page.evaluate(f"scrollTo(0, {place})")
        box = page.locator("#confirm").bounding_box()
        assert 0 < box["y"] < 600 - box["height"]


def test_all_cases_done(runs, serve, visit):
    server = serve()
    page = visit.page(server.addresses[RATER])
    page.locator("#go").click()
    for _ in range(READABLE):
        page.locator("#confirm:enabled").wait_for()
        confirm(page)
    page.get_by_text("All cases are rated, thank you.").wait_for()
    assert [scores(run)["nejm_cpc"]["scored"] for run in runs] == [CASES, CASES]
