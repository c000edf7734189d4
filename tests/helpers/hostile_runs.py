"""Run folders as somebody else may hand them over: real ones, with something in them that no run writes."""

import json
import os

from rated_runs import make_runs
from scripted import Scripted

import mibe
from mibe.data.store import data_dir
from mibe.rating.cases import listed_in
from mibe.rating.scores import database_of
from mibe.rating.store import Ratings

TASKS = "pubmedqa,hoc,bc5cdr,pubmedsum,nejm_cpc"
"""A label, a set of labels, entities, a text, a ranked list."""

DEEP = "\x00deep\x00"
"""Stands for a value that no encoder of JSON writes."""

WEIRD = (
    None, True, 0, -1, 0.5, 10**30, -(10**30), 1e308, 5e-324, float("nan"), float("inf"), "", "x", "\x1b[31mred\x1b[0m",
    "\u202eright to left", "../../etc/passwd", "=1+1", "\ud800", [], {}, [[]], [None], ["a"], {"a": None}, {"a": 1},
    [["Disease", 0, 5]], [["Disease", 0, 10**15]], "9" * 5000, "1/0", "2026-13-45", DEEP,
)  # fmt: skip


def write_data():
    """Prepared data of the tasks that are not bundled."""
    lines = {
        "hoc": [
            {"id": f"h{n}", "inputs": {"text": f"Cells {n}."}, "target": ["resisting cell death"]} for n in range(6)
        ],
        "bc5cdr": [
            {"id": f"b{n}", "inputs": {"text": f"Gout {n} by aspirin."}, "target": [["Disease", 0, 4]]}
            for n in range(6)
        ],
        "pubmedsum": [
            {"id": f"s{n}", "inputs": {"text": f"Long text {n}."}, "target": f"Text {n}.\nShort."} for n in range(6)
        ],
    }
    for name, rows in lines.items():
        folder = data_dir() / name
        folder.mkdir(parents=True)
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluated(folder, answer, **settings):
    common = {"limit": 5, "resamples": 20, "use_cache": False, "judge": "exact", "tasks": TASKS} | settings
    return mibe.evaluate(model=Scripted(answer, identity=answer("")), output_dir=folder, **common)


def make(folder):
    """Name → folder of a finished run: "a" and "b" of all tasks, "drawn" of three draws, "one" and "two" shards."""
    write_data()
    make_runs(folder / "rated")
    runs = {
        "a": evaluated(folder / "runs", lambda _: "1. Gout\n2. Lupus"),
        "b": evaluated(folder / "runs", lambda _: "yes, resisting cell death"),
        "drawn": evaluated(folder / "runs", lambda _: "yes", tasks="pubmedqa", judge=None, repeats=3),
        "one": evaluated(folder / "runs", lambda _: "no", tasks="pubmedqa", judge=None, shard="1/2"),
        "two": evaluated(folder / "runs", lambda _: "no", tasks="pubmedqa", judge=None, shard="2/2"),
    }
    with_ratings(runs["a"])
    return {name: run.path for name, run in runs.items()}


def with_ratings(run):
    ratings = Ratings(database_of(run, "nejm_cpc"))
    for listed in listed_in(run, "nejm_cpc")[:3]:
        ratings.confirm("Dr A", listed, matches=[1], unsure=False, comment="")
    ratings.close()


def places(value, path=()):
    """The way to each value in JSON data, the data itself included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def changed(value, path, what):
    """JSON data with `what` in one place; nothing there where it is `...`."""
    if not path:
        return {} if what is ... else what
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if not rest and what is ...:
        del copy[key]
    else:
        copy[key] = changed(copy[key], rest, what)
    return copy


def as_json(value):
    return json.dumps(value).replace(json.dumps(DEEP), "[" * 100_000 + "]" * 100_000)


def replaced(path, kind):
    """Something else in the place of a file: a folder, a pipe, half of it, nothing, other encodings, noise."""
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind != "gone":
        path.write_bytes(
            {
                "half": content[: len(content) // 2],
                "empty": b"",
                "utf-16": content.decode("utf-8", "replace").encode("utf-16"),
                "latin-1": content.replace(b"e", b"\xe9"),
                "bom": b"\xef\xbb\xbf" + content,
                "zeros": b"\0" * 4096,
                "list": b"[]",
                "twice": content + content,
                "open": b"[" * 200_000,
            }[kind]
        )


KINDS = (
    "folder",
    "pipe",
    "device",
    "loop",
    "gone",
    "half",
    "empty",
    "utf-16",
    "latin-1",
    "bom",
    "zeros",
    "list",
    "twice",
    "open",
)


def commands(runs, run, out):
    """Every command that reads a run folder, with `run` among others that are sound."""
    path, other = str(run), str(runs["b"])
    shards = ["merge", path, str(runs["two"]), "--output-dir", str(out / "merged")]
    logs = sorted((run / "samples").glob("*.jsonl")) or [run / "samples" / "pubmedqa.jsonl"]
    return [
        ["leaderboard", path, other],
        ["leaderboard", path, other, "--format", "csv", "--metric", "all"],
        ["leaderboard", path, other, "--format", "latex", "--published", "none"],
        ["leaderboard", path, other, "--html", str(out / "board")],
        ["report", path, "--html", str(out / "report")],
        ["compare", path, other, "--resamples", "20", "--force"],
        ["compare", other, path, "--list", "pubmedqa", "--force", "--resamples", "20", "--format", "csv"],
        shards,
        [*shards, "--partial"],
        ["verify", path],
        *(["export", path, "--to", form] for form in ("lm-eval", "csv", "hf-eval-results")),
        ["export", path, "--to", "csv", "--samples"],
        ["export", path, "--to", "parquet", "--samples", "--output", str(out / "samples.parquet")],
        ["ratings", "show", path],
        ["ratings", "export", path, "--rater", "Dr A"],
        [
            "agreement",
            str(run / "samples" / "nejm_cpc.jsonl"),
            str(run / "ratings" / "nejm_cpc.sqlite"),
            "--resamples",
            "20",
        ],
        ["agreement", str(logs[0]), str(logs[-1])],
        ["rescore", path],
    ]
