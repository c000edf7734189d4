"""A run shows itself in a line and in a notebook, and hands out the samples that are wrong."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scripted import Scripted

import mibe
from mibe.errors import UsageError
from mibe.report.page import write_report


class Page(HTMLParser):
    """The tags and the texts of a piece of HTML, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.texts = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def run(tmp_path):
    """Twenty questions of PubMedQA, of which the first asked has no readable answer and the others are "no"."""
    answers = iter(["<b>hm</b>"] + ["no"] * 19)
    return mibe.evaluate(
        model=Scripted(lambda _: next(answers)), tasks="pubmedqa", limit=20, resamples=50, output_dir=tmp_path / "runs"
    )


def test_the_line_names_folder_model_status_and_headline(run):
    figure = run.record["tasks"]["pubmedqa"]["figures"]["accuracy"]
    interval = f"({figure['low']:.3f} – {figure['high']:.3f})"
    assert repr(run) == f"Run({run.path}: scripted, finished; pubmedqa accuracy {figure['value']:.3f} {interval})"


def test_the_line_stays_short_with_many_tasks_and_with_none(run):
    part = run.record["tasks"]["pubmedqa"]
    many = mibe.Run(run.path, run.record | {"tasks": {f"task{i}": part for i in range(9)}})
    assert repr(many).endswith("; 6 tasks more)") and "task2 " in repr(many) and "task3" not in repr(many)
    assert repr(mibe.Run(run.path, run.record | {"tasks": {}})) == f"Run({run.path}: scripted, finished)"
    begun = {"tasks": {"pubmedqa": {"title": "PubMedQA", "headline": "accuracy"}}, "status": "interrupted"}
    assert repr(mibe.Run(run.path, run.record | begun)) == f"Run({run.path}: scripted, interrupted)"


def test_a_notebook_shows_every_main_figure_with_its_interval(run):
    page = Page(run._repr_html_())
    figures = run.record["tasks"]["pubmedqa"]["figures"]
    assert not page.open
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        at = page.texts.index(name)
        figure = figures[name]
        assert page.texts[at + 1 : at + 3] == [f"{figure['value']:.3f}", f"{figure['low']:.3f} – {figure['high']:.3f}"]
    assert any("95% of the answers are 'no'" in text for text in page.texts)


def test_no_name_in_it_becomes_markup(run):
    record = json.loads(json.dumps(run.record))
    bad = "<script>alert(1)</script>\x1b[31m&"
    record["model"]["name"] = bad
    record["tasks"] = {bad: record["tasks"]["pubmedqa"]}
    record["skipped"] = {"mednli": bad}
    for shown in (mibe.Run(run.path, record), mibe.Run(Path(bad), record)):
        page = Page(shown._repr_html_())
        assert "script" not in page.tags and not page.open
        assert "<script>alert(1)</script>&" in page.texts
        assert "\x1b" not in repr(shown) + shown._repr_html_()


def test_the_report_is_a_link_once_it_is_written(run, monkeypatch):
    page = Page(run._repr_html_())
    assert page.links == [] and f"mibe report {run.path}" in page.texts
    written = write_report(run)
    assert Page(run._repr_html_()).links == [written.resolve().as_uri()]
    # Below the notebook's own folder a relative link works in a browser, and one to a file does not.
    monkeypatch.chdir(run.path.parent)
    assert Page(run._repr_html_()).links == [f"{run.path.name}/report/index.html"]


def test_wrong_samples_are_those_whose_answer_is_not_the_target(run):
    samples, wrong = run.samples("pubmedqa"), run.wrong("pubmedqa")
    expected = samples[samples["prediction"] != samples["target"]]
    assert list(wrong["id"]) == list(expected["id"]) and 0 < len(wrong) < 20
    assert list(wrong.columns) == list(samples.columns)
    assert "<b>hm</b>" in set(wrong["output"])
    assert 1 - len(wrong) / 20 == pytest.approx(run.scores("pubmedqa")["accuracy"])


def test_a_run_without_a_wrong_sample_has_an_empty_table_with_its_columns(tmp_path):
    gold = {e.inputs["question"]: e.target for e in mibe.examples(mibe.load_task("pubmedqa"), "test")}
    model = Scripted(lambda prompt: next(target for question, target in gold.items() if question in prompt))
    done = mibe.evaluate(model=model, tasks="pubmedqa", limit=5, resamples=20, output_dir=tmp_path)
    assert len(done.wrong("pubmedqa")) == 0 and "output" in done.wrong("pubmedqa").columns


def test_what_has_no_wrong_samples_says_so(run):
    with pytest.raises(UsageError, match="has no task 'medqa'"):
        run.wrong("medqa")
    log = run.samples_path("pubmedqa")
    rows = [json.loads(line) | {"scores": {"rougeL": 0.3}} for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match="have a grade"):
        run.wrong("pubmedqa")
