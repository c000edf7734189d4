"""What a run cost, as its report shows it."""

import re

from scripted import Scripted

import mibe
from mibe.models.base import Response
from mibe.report.page import write_report


def answered(prompt):
    return Response(
        text="yes", finish_reason="stop", prompt_tokens=200, new_tokens=2, seconds=0.5, latency=3.0, first_token=1.5
    )


def cells_of(page, label):
    table = re.search(rf'aria-label="{label}">.*?</table>', page, re.S)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows
    ]


def test_every_figure_stands_there_by_task_and_what_was_not_measured_says_so(tmp_path):
    run = mibe.evaluate(
        model=Scripted(answered), tasks="pubmedqa,medqa", limit=4, resamples=5, output_dir=tmp_path, use_cache=False
    )
    page = write_report(run).read_text(encoding="utf-8")
    assert 'href="#cost"' in page and 'id="cost"' in page
    header, first, second = cells_of(page, "What the run cost, task by task")
    assert len(header) == len(first) == len(second)
    assert first[1:] == ["4", "500 ms", "3 / 3 s", "1.5 / 1.5 s", "400.0 / 4.0", "not measured", "not measured"]
    figures = {row[0]: row[1:] for row in cells_of(page, "All figures of what the run cost")}
    assert figures["operations"] == ["not measured", "the size of the model is not known"]
    assert figures["load time"][0] == "not measured" and figures["peak memory of the process"][0].endswith(" GiB")
    assert figures["tokens read"] == ["200.0", "a document, mean of 8"]
    assert "141.2 &#34;GB&#34; at batch 1" in page


def test_a_run_that_was_answered_from_the_cache_has_nothing_measured(tmp_path):
    settings = {"tasks": "pubmedqa", "limit": 4, "resamples": 5, "output_dir": tmp_path}
    mibe.evaluate(model=Scripted(answered), **settings)
    run = mibe.evaluate(model=Scripted(answered), **settings)
    _, row = cells_of(write_report(run).read_text(encoding="utf-8"), "What the run cost, task by task")
    assert row[1:] == ["0", *["not measured"] * 6]
