"""What may stand in a run's files, and what is said of the rest."""

import json

import pytest
from scripted import Scripted

import mibe
from mibe.cli import main
from mibe.errors import RunError
from mibe.results import schema
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.log import latest_rows, mend, read_rows
from mibe.results.run import load_run, load_runs

ROW = {"id": "a", "outcome": "parsed", "prediction": "yes", "target": "no", "scores": {"accuracy": 0.0}}
DEEP = "[" * 100_000 + "]" * 100_000


def unfit(read, value):
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(schema.Unfit) as found:
        read(text.encode())
    assert "\n" not in str(found.value) and len(str(found.value)) <= 300
    return str(found.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 7}, "id: Input should be a valid string"),
        ({"outcome": "brilliant"}, "outcome: Input should be 'parsed', 'unparsed', 'truncated', 'refused' or 'error'"),
        ({"draw": -1}, "draw: Input should be greater than or equal to 0"),
        ({"seconds": float("nan")}, "seconds: Input should be a finite number"),
        ({"scores": {"accuracy": float("inf")}}, "scores.accuracy: Input should be a finite number"),
        ({"prompt_tokens": 10**30}, "prompt_tokens: Input should be less than or equal to"),
        ({"target": [[float("nan")]]}, "target"),
        ({"metadata": {"subject": None}}, "metadata.subject: Input should be a valid string"),
        ({"verdicts": [{}]}, "verdicts.0.rank: Field required"),
    ],
)
def test_a_row_says_what_is_wrong_and_where(change, message):
    assert message in unfit(schema.row, ROW | change)


@pytest.mark.parametrize("text", ["[]", "{", "", "\0", "null", '{"id": "a", "prediction": ' + DEEP + "}", "9" * 5000])
def test_what_is_no_row_at_all(text):
    unfit(schema.row, text)


def test_a_row_comes_back_as_it_was_written_and_halves_of_characters_do_not():
    row = ROW | {"output": "Zeile\n\u2028 “quoted”", "prediction": [["Disease", 0, 5]], "new_field": {"a": [1]}}
    assert schema.row(json.dumps(row).encode()) == row and list(schema.row(json.dumps(row).encode())) != []
    assert schema.row(json.dumps(ROW | {"output": "\ud800!"}).encode())["output"] == "\ufffd!"


def test_the_text_of_a_patient_is_not_in_the_error():
    assert "diabetes" not in unfit(schema.row, ROW | {"output": {"note": "diabetes"}})


def test_a_line_of_other_types_is_damage_wherever_it_stands(tmp_path):
    log = tmp_path / "t.jsonl"
    good, bad = json.dumps(ROW), json.dumps(ROW | {"outcome": 3})
    for lines in ([bad, good], [good, bad]):
        log.write_text("".join(line + "\n" for line in lines))
        with pytest.raises(RunError, match=rf"line {lines.index(bad) + 1} is damaged \(outcome: Input should be"):
            list(read_rows(log))
        assert mend(log) == 1
        assert [row["id"] for row in latest_rows(log)] == ["a"]


def evaluated(folder, **settings):
    common = {"tasks": "pubmedqa", "limit": 6, "resamples": 5, "use_cache": False}
    return mibe.evaluate(model=Scripted(lambda _: "yes"), output_dir=folder, **common | settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("model"), "model: it is missing"),
        (lambda r: r["settings"].pop("seed"), "settings.seed: it is missing"),
        (lambda r: r.update(sessions=[]), "sessions: there is none"),
        (lambda r: r["tasks"]["pubmedqa"].pop("outcomes"), "tasks.pubmedqa.outcomes: it is missing"),
        (lambda r: r["tasks"]["pubmedqa"].update(headline="x"), "tasks.pubmedqa.headline: it is none of the figures"),
        (lambda r: r["tasks"]["pubmedqa"]["figures"]["accuracy"].update(value=float("nan")), "a finite number"),
        (lambda r: r["tasks"]["pubmedqa"]["confusion"].update(counts=[[1]]), "a row for each label"),
        (lambda r: r["tasks"].update({"../../x": r["tasks"]["pubmedqa"]}), "a task's name is that of a file"),
        (lambda r: r["sessions"][0].update(started="2026-13-45"), "sessions.0.started"),
        (lambda r: r.update(status="splendid"), "status: Input should be"),
        (lambda r: r.update(model=json.loads("[" * 150 + "]" * 150)), "model: Input should be an object"),
    ],
)
def test_a_record_that_is_not_whole_is_one_line(tmp_path, capsys, change, message):
    done = evaluated(tmp_path)
    record = json.loads((done.path / "run.json").read_text())
    change(record)
    (done.path / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="is not a whole run record"):
        load_run(done.path)
    assert main(["export", str(done.path), "--to", "csv"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err and str(done.path) in err


def test_one_bad_folder_is_a_line_and_the_others_go_on(tmp_path, capsys):
    good, bad = evaluated(tmp_path), evaluated(tmp_path)
    (bad.path / "run.json").write_text("{}")
    runs, left_out = load_runs([good.path, bad.path])
    assert [run.path for run in runs] == [good.path] and len(left_out) == 1
    assert main(["leaderboard", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "scripted" in out.split("\n\n")[1] and "0.667" in out
    assert f"left out: {bad.path}/run.json is not a whole run record" in out
    with pytest.raises(RunError, match="status: it is missing"):
        load_runs([bad.path])


@pytest.mark.parametrize("prediction", [3, {"a": 1}, ["yes"], [["Disease", 0, 4]]])
def test_a_sample_that_its_task_cannot_score_is_one_line(tmp_path, capsys, prediction):
    done = evaluated(tmp_path)
    log = done.samples_path("pubmedqa")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[2]["prediction"] = prediction
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for command in (["report"], ["verify"], ["compare", str(done.path)], ["export", "--to", "csv", "--samples"]):
        assert main([command[0], str(done.path), *command[1:]]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "its prediction is no answer to the task" in err


@pytest.mark.parametrize(
    "damage",
    [
        '{"response": {}}', "null", "3", "[]", '{"response": {"text": 3, "finish_reason": "stop"}}', DEEP, b"\xff", 7,
        '{"response": {"text": "yes", "finish_reason": "stop", "unheard_of": 1}}', None,
        '{"response": {"text": "yes", "finish_reason": "stop", "cost": -1}}',
        '{"response": {"text": "yes", "finish_reason": "because"}}',
    ],
)  # fmt: skip
def test_a_damaged_row_of_the_cache_is_a_miss(tmp_path, damage):
    evaluated(tmp_path, use_cache=True)
    cache = ResponseCache(cache_path())
    cache._database.execute("UPDATE responses SET value = ? WHERE rowid = 2", (damage,))
    cache._database.commit()
    cache.close()
    model = Scripted(lambda _: "yes")
    again = mibe.evaluate(model=model, tasks="pubmedqa", limit=6, resamples=5, output_dir=tmp_path / "again")
    assert len(model.asked) == 1 and again.scores("pubmedqa")["accuracy"] > 0
    assert not mibe.evaluate(
        model=Scripted(lambda _: pytest.fail("it is in the cache again")), tasks="pubmedqa", limit=6, resamples=5,
        output_dir=tmp_path / "third",
    ).failed  # fmt: skip
