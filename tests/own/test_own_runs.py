"""Runs of one's own data: scores by hand and by scikit-learn, what is kept in the record, what stays private."""

import json
import stat

import pytest
from scripted import Scripted
from sklearn.metrics import f1_score

from mibe import registry
from mibe.analysis.compare import compare
from mibe.analysis.rescore import rescore
from mibe.analysis.verify import verify
from mibe.cli.main import main, parser
from mibe.cli.own import tasks_of
from mibe.errors import DataError, DataUseError, UsageError
from mibe.interchange.tables import sample_rows
from mibe.own.opening import open_file
from mibe.own.recorded import KEY, task_of
from mibe.registry import register_task
from mibe.report.page import write_report
from mibe.results.run import load_run
from mibe.run.evaluate import evaluate
from mibe.task import AccessLevel
from mibe.terminal.news import heard_by

NOTES = [
    ("p1", "crushing chest pain", "urgent"),
    ("p2", "may I shower, or not?", "routine"),
    ("p3", "a copy of my record", "administrative"),
    ("p4", "my left arm is weak", "urgent"),
    ("p5", "a form for my insurer", "administrative"),
    ("p6", "does the scar itch", "routine"),
]
ANSWERS = {
    "crushing": "urgent",
    "may": "urgent",
    "copy": "administrative",
    "weak": "urgent",
    "form": "routine",
}
"""A word of a note → the answer to it; to the one about the scar there is none."""


def answer(prompt):
    return next((said for word, said in ANSWERS.items() if word in prompt.rsplit("NOTE:", 1)[-1]), "I do not know.")


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.csv"
    rows = "".join(f'{ident},"{note}",{label}\n' for ident, note, label in NOTES)
    path.write_text("id,note,urgency\n" + rows, encoding="utf-8")
    return path


def run(path, output_dir, model=None, said=None, **settings):
    # As a command does, which is a process of its own.
    registry._REGISTERED.clear()
    task, _ = open_file(path, **{"columns": {"input": "note", "target": "urgency"}, **(said or {})})
    register_task(task)
    found = evaluate(model=model or Scripted(answer), tasks=task.name, output_dir=output_dir, **settings)
    registry._REGISTERED.clear()
    return found


def test_scores_are_those_of_scikit_learn(notes, tmp_path):
    done = run(notes, tmp_path / "runs")
    gold = [label for *_, label in NOTES]
    said = [answer(f"NOTE: {note}") for _, note, _ in NOTES]
    right = sum(a == b for a, b in zip(gold, said, strict=True))
    assert said.count("I do not know.") == 1 and right == 3
    assert done.scores("notes")["accuracy"] == 3 / 6
    labels = ["administrative", "routine", "urgent"]
    expected = f1_score(gold, said, labels=labels, average="macro", zero_division=0)
    assert done.scores("notes")["macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert done.record["tasks"]["notes"]["outcomes"]["unparsed"] == 1


def test_the_record_keeps_what_makes_the_task_again(notes, tmp_path):
    done = run(notes, tmp_path / "runs")
    kept = done.record[KEY]["notes"]
    assert kept["description"]["columns"] == {"input": ["note"], "target": ["urgency"], "id": "id"}
    assert kept["description"]["labels"] == ["administrative", "routine", "urgent"]
    assert kept["files"] == {"notes.csv": str(notes)}
    with pytest.raises(UsageError, match="unknown task 'notes'"):
        registry.load_task("notes")
    found = load_run(done.path)
    assert task_of(found.record, "notes").labels == ("administrative", "routine", "urgent")
    again = rescore(done.path)
    assert again.scores("notes") == done.scores("notes")
    assert not verify(done.path).failed and len(list(sample_rows(again))) == 6
    other = run(notes, tmp_path / "runs", Scripted(lambda _: "urgent", identity="other"))
    row = next(row for row in compare(done.path, other.path).rows if row.metric == "accuracy")
    assert (row.a, row.b, row.n, row.only_a, row.only_b) == (3 / 6, 2 / 6, 6, 1, 0)


def test_a_file_that_changed_is_noticed_and_the_run_again_is_another(notes, tmp_path):
    done = run(notes, tmp_path / "runs")
    was = notes.read_text(encoding="utf-8")
    # Another column changes nothing that was asked.
    notes.write_text("\n".join(line + ",x" for line in was.splitlines()), encoding="utf-8")
    assert rescore(done.path).scores("notes") == done.scores("notes")
    notes.write_text(was.replace("weak", "limp"), encoding="utf-8")
    # What was read of the file in this process is forgotten, as by a process of its own.
    from mibe.data import store

    store._HELD.clear()
    with pytest.raises(DataError, match=r"notes.csv was changed since the run \(test has another sha256\)"):
        rescore(done.path)
    model = Scripted(answer)
    changed = run(notes, tmp_path / "runs", model)
    assert changed.path != done.path and len(model.asked) == 1
    with pytest.raises(UsageError, match="notes: the data differ"):
        compare(done.path, changed.path)
    notes.unlink()
    store._HELD.clear()
    with pytest.raises(DataError, match="is not there any more; bring it back"):
        rescore(done.path)


def test_a_record_of_somebody_else_shows_nothing_of_a_file_that_it_names(notes, tmp_path):
    done = run(notes, tmp_path / "runs", said={"access": "open"})
    secret = tmp_path / "secret.csv"
    secret.write_text("note,urgency,id\nthe password is hunter2,hunter2,1\n", encoding="utf-8")
    record = json.loads((done.path / "run.json").read_text(encoding="utf-8"))
    record[KEY]["notes"]["files"]["notes.csv"] = str(secret)
    (done.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as in the run"):
        rescore(done.path)
    write_report(done.path)
    pages = [path.read_text(errors="replace") for path in (done.path / "report").rglob("*") if path.is_file()]
    assert not any("hunter2" in page for page in pages)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.clear(),
        lambda kept: kept["description"].pop("kind"),
        lambda kept: kept["description"].update(name="other"),
        lambda kept: kept["description"].update(files={"test": "elsewhere.csv"}),
        lambda kept: kept.update(files=3),
        lambda kept: kept.update(description=[]),
    ],
)
def test_a_damaged_description_is_one_line(notes, tmp_path, change, capsys):
    done = run(notes, tmp_path / "runs")
    record = json.loads((done.path / "run.json").read_text(encoding="utf-8"))
    change(record[KEY]["notes"])
    (done.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["rescore", str(done.path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and ("is damaged" in err or "is not a whole run record" in err)


def test_runs_that_read_the_same_file_otherwise_are_not_compared(notes, tmp_path):
    one = run(notes, tmp_path / "runs", said={"prompt": "How urgent?"})
    two = run(notes, tmp_path / "runs", said={"prompt": "How urgent?", "aliases": {"stat": "urgent"}})
    with pytest.raises(UsageError, match="notes: the task files differ in aliases"):
        compare(one.path, two.path)


def test_an_interrupted_run_goes_on(notes, tmp_path):
    class Stops(Scripted):
        def generate(self, requests):
            for n, found in enumerate(super().generate(requests)):
                if n == 2:
                    raise KeyboardInterrupt
                yield found

    with pytest.raises(KeyboardInterrupt):
        run(notes, tmp_path / "runs", Stops(answer), use_cache=False)
    model = Scripted(answer)
    done = run(notes, tmp_path / "runs", model, use_cache=False)
    assert len(model.asked) == 4 and len(list((tmp_path / "runs").iterdir())) == 1
    assert done.scores("notes")["accuracy"] == 3 / 6 and done.record["sessions"][0]["ended"] is not None
    # Labels in another order are another task.
    other = run(notes, tmp_path / "runs", Scripted(answer), {"labels": ["urgent", "routine", "administrative"]})
    assert other.path != done.path


class Remote(Scripted):
    name = "remote"
    is_remote = True


def test_own_data_is_private_unless_said_otherwise(notes, tmp_path):
    model = Remote(answer)
    with pytest.raises(DataUseError, match="--access open where everybody may see it"):
        run(notes, tmp_path / "runs", model)
    assert model.asked == []
    done = run(notes, tmp_path / "runs")
    log = done.samples_path("notes")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600 and stat.S_IMODE(log.parent.stat().st_mode) == 0o700
    assert done.record["tasks"]["notes"]["first_prompt"] is None
    write_report(done.path)
    shown = [path for path in done.path.rglob("*") if path.is_file() and path != log]
    assert len(shown) > 5 and not any("chest pain" in path.read_text(errors="replace") for path in shown)
    assert not any("chest pain" in json.dumps(row) for row in sample_rows(done))
    allowed = run(notes, tmp_path / "runs", Remote(answer), {"access": "open"})
    assert allowed.scores("notes")["accuracy"] == 3 / 6
    write_report(allowed.path)
    assert any("chest pain" in path.read_text() for path in (allowed.path / "report" / "data").rglob("*.js"))
    assert run(notes, tmp_path / "runs", Remote(answer), {"access": AccessLevel.NON_COMMERCIAL}).failed == 0


def test_the_command_in_one_go(notes, tmp_path, capsys):
    command = ["eval", "--data", str(notes), "--input", "note", "--target", "urgency", "--model", "dummy"]
    command += ["--model-args", "answer=urgent", "--output-dir", str(tmp_path / "runs"), "--format", "json"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["notes"]["figures"]["accuracy"]["value"] == pytest.approx(2 / 6)
    assert "notes.csv: 6 in test; each answer is one label: administrative 2, routine 2, urgent 2" in err
    assert "notes is private: its text stays on this machine" in err
    (path,) = (tmp_path / "runs").iterdir()
    registry._REGISTERED.clear()
    assert main(["report", str(path)]) == 0 and main(["rescore", str(path)]) == 0
    assert main(["leaderboard", str(path)]) == 0 and "notes" in capsys.readouterr().out


def test_nothing_is_asked_before_the_rows_are_right(notes, tmp_path, capsys):
    notes.write_text(notes.read_text(encoding="utf-8") + "p7,late,urgnt\n", encoding="utf-8")
    command = ["eval", "--data", str(notes), "--input", "note", "--target", "urgency", "--labels", "urgent,routine"]
    assert main([*command, "--model", "hf", "--model-args", "pretrained=/nowhere"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "mibe: notes.csv: 3 rows cannot be used; correct the data:",
        "  line 4: 'administrative' is none of the labels (urgent, routine)",
        "  line 6: 'administrative' is none of the labels (urgent, routine)",
        "  line 8: 'urgnt' is none of the labels; did you mean urgent?",
    ]
    # A line break in a cell makes no line that looks like one of ours.
    notes.write_text('note,urgency\nlate,"urg\nmibe: all is well"\n', encoding="utf-8")
    assert main([*command, "--model", "dummy"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["eval", "--tasks", "pubmedqa", "--input", "note", "--model", "dummy"], "--input is for a file of your own"),
        (["show"], "name a task, or give a file of your own"),
        (["check", "pubmedqa", "--data", "notes.csv"], "name a task, or give a file of your own"),
        (["eval", "--data", "nothing.csv", "--model", "dummy"], "there is nothing at nothing.csv"),
    ],
)
def test_wrong_commands(command, why, capsys):
    assert main(command) == 2 and why in capsys.readouterr().err


def test_show_check_and_score_take_a_file(notes, tmp_path, capsys):
    said = ["--data", str(notes), "--input", "note", "--target", "urgency"]
    assert main(["show", *said]) == 0 and "NOTE: crushing chest pain" in capsys.readouterr().out
    registry._REGISTERED.clear()
    assert main(["check", *said]) == 0 and "each is read as itself" in capsys.readouterr().out
    registry._REGISTERED.clear()
    outputs = tmp_path / "outputs.jsonl"
    rows = [json.dumps({"id": ident, "output": "urgent"}) for ident, *_ in NOTES]
    outputs.write_text("\n".join(rows), encoding="utf-8")
    assert main(["score", *said, "--outputs", str(outputs), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"]["figures"]["accuracy"]["value"] == pytest.approx(2 / 6)


def test_a_second_file_has_the_worked_examples(notes, tmp_path):
    train = tmp_path / "more.csv"
    train.write_text(
        "note,urgency\nwasp in the throat,urgent\ncoffee?,routine\na bill,administrative\n", encoding="utf-8"
    )
    model = Scripted(answer)
    done = run(notes, tmp_path / "runs", model, {"files": {"train": str(train)}}, num_fewshot=3)
    assert done.scores("notes")["accuracy"] == 3 / 6
    assert all("wasp in the throat\nANSWER: urgent" in prompt for prompt in model.asked)
    registry._REGISTERED.clear()
    assert rescore(done.path).scores("notes") == done.scores("notes")


def test_worked_examples_without_a_file_of_them_are_asked_for(notes, tmp_path):
    with pytest.raises(DataError, match="its data has none; give a second file by --train-data FILE"):
        run(notes, tmp_path / "runs", Scripted(answer), num_fewshot=3)


def test_scores_by_ward_and_by_patient(tmp_path):
    path = tmp_path / "notes.csv"
    rows = [f"{n},word{n},{'urgent' if n % 2 else 'routine'},{'ICU' if n < 6 else 'ER'},p{n // 4}" for n in range(12)]
    path.write_text("\n".join(["id,note,urgency,ward,patient", *rows]), encoding="utf-8")
    said = {"columns": {"input": "note", "target": "urgency", "breakdowns": ["ward"], "cluster": "patient"}}
    done = run(path, tmp_path / "runs", Scripted(lambda _: "urgent"), said)
    part = done.record["tasks"]["notes"]
    assert {ward: f["accuracy"]["value"] for ward, f in part["breakdowns"]["ward"].items()} == {"ICU": 0.5, "ER": 0.5}
    clusters = {row["cluster"] for row in done.rows("notes")}
    assert len(clusters) == 3 and not any(name.startswith("p") and len(name) < 8 for name in clusters)


def test_of_several_processes_the_first_alone_tells_what_was_understood(tmp_path, monkeypatch):
    heard = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        table = tmp_path / f"of_{rank}.csv"
        table.write_text(
            "note,urgency\n" + "".join(f"{note},{urgency}\n" for _, note, urgency in NOTES[:1] + NOTES[3:])
        )
        words = ["eval", "--model", "dummy", "--data", str(table), "--input", "note", "--target", "urgency"]
        with heard_by(heard.append):
            assert tasks_of(parser().parse_args(words), None) == f"of_{rank}"
    assert [line.split(":")[0] for line in heard] == ["of_0.csv", "of_0 is private"]
