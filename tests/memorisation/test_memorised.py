"""`mibe memorised` on small language models that have read the questions, or others: what is found, kept and shown."""

import json
from dataclasses import replace

import pytest
from ngram_model import Ngrams, Speaking

import mibe
from mibe.cli import memorised as command
from mibe.cli.main import main
from mibe.errors import DataError, DataUseError, RunError, UsageError
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.page import board_view
from mibe.leaderboard.tables import render as render_board
from mibe.memorisation.asking import INSTRUCTION
from mibe.memorisation.memorised import LIMIT, memorised
from mibe.memorisation.record import load
from mibe.memorisation.testing import NGRAMS, ORDER, ROUGE_L, TOKENS
from mibe.memorisation.text import render
from mibe.memorisation.training import training_lines
from mibe.own.opening import open_file
from mibe.registry import forget_task, register_task
from mibe.run.documents import Documents
from mibe.task import credentialed, shown_fields


def texts(start, end):
    """Questions of MedQA with their options, as a corpus might have them."""
    task = mibe.load_task("medqa")
    chosen = list(Documents.select(task, "test", end, 1234))
    first = {example.id for example in Documents.select(task, "test", start, 1234)} if start else set()
    return [
        f"{example.inputs['question']}\n{shown_fields(example)['options']}"
        for example in chosen
        if example.id not in first
    ]


@pytest.fixture(scope="module")
def learned():
    return texts(0, 100)


@pytest.fixture(scope="module")
def others():
    return texts(100, 200)


def run_on(model, folder, **settings):
    return memorised(model=model, output_dir=folder, **{"tasks": "medqa", "limit": 100, **settings})


def test_a_model_that_has_read_the_questions_is_found_by_every_test(tmp_path, learned):
    found = run_on(Ngrams(learned), tmp_path)
    part = found.record["tasks"]["medqa"]
    assert list(part["tests"]) == [TOKENS, ORDER, ROUGE_L, NGRAMS] and not part["left_out"]
    assert all(entry["p_holm"] < 0.01 and entry["wins"] > 0.9 for entry in part["tests"].values())
    assert part["tests"][ORDER]["p_sharded"] < 1e-6
    # By hand: of four p, Holm multiplies the least by 4.
    least = min(entry["p"] for entry in part["tests"].values())
    assert min(entry["p_holm"] for entry in part["tests"].values()) == pytest.approx(4 * least)
    assert found.is_memorised("medqa")
    assert (part["data"]["documents"], part["data"]["of"]) == (100, 1273)
    assert load(found.path).record == json.loads(json.dumps(found.record))


def test_a_model_that_has_read_other_questions_of_the_same_set_is_not(tmp_path, others):
    found = run_on(Ngrams(others), tmp_path)
    tests = found.record["tasks"]["medqa"]["tests"]
    assert len(tests) == 4 and all(entry["p_holm"] > 0.05 for entry in tests.values())
    assert not found.is_memorised("medqa") and "not shown" in render(found, "text")


def test_reference_questions_take_the_place_of_twins(tmp_path, learned, others):
    file = tmp_path / "later.jsonl"
    file.write_text("".join(json.dumps({"question": text.split("\n")[0]}) + "\n" for text in others))
    found = run_on(Ngrams(learned), tmp_path, reference=file)
    tests = found.record["tasks"]["medqa"]["tests"]
    assert {name: entry["against"] for name, entry in tests.items()} == {
        TOKENS: "reference", ORDER: "orders", ROUGE_L: "reference", NGRAMS: "reference",
    }  # fmt: skip
    assert tests[TOKENS]["p_holm"] < 1e-6 and tests[NGRAMS]["p_holm"] < 1e-6
    assert found.record["reference"]["questions"] == 100 and "later.jsonl" in render(found, "markdown")
    turned = run_on(Ngrams(others), tmp_path, reference=file).record["tasks"]["medqa"]["tests"]
    assert turned[TOKENS]["p"] > 0.999
    file.write_text('{"question": "a"}\nnot an object\n')
    with pytest.raises(DataError, match="1 row cannot be read; correct the data:\n  line 2"):
        run_on(Ngrams(others), tmp_path, reference=file)
    file.write_text('{"text": "a"}\n')
    with pytest.raises(UsageError, match="no column 'question'; it has text"):
        run_on(Ngrams(others), tmp_path, reference=file)


def test_what_a_model_has_said_is_not_asked_again(tmp_path, learned):
    first, second = Ngrams(learned), Ngrams(learned)
    found = [run_on(model, tmp_path).record["tasks"] for model in (first, second)]
    assert first.asked and not second.asked and found[0] == found[1]
    unknown = Ngrams(learned, has_identity=False)
    run_on(unknown, tmp_path, limit=60)
    assert unknown.asked


class Remote(Speaking):
    """The same behind an API that chats."""

    is_remote, is_chat = True, True

    def generate(self, requests):
        assert all(request.messages[0]["content"].startswith(INSTRUCTION) for request in requests)
        return super().generate([replace(request, text=request.text.removeprefix(INSTRUCTION)) for request in requests])


@pytest.mark.parametrize("kind", [Speaking, Remote])
def test_without_likelihoods_the_completions_alone_are_run_on(tmp_path, learned, kind):
    found = run_on(kind(learned, name="text-only"), tmp_path)
    part = found.record["tasks"]["medqa"]
    assert set(part["tests"]) == {ROUGE_L, NGRAMS} and part["tests"][NGRAMS]["p_holm"] < 0.01
    assert part["left_out"] == {
        TOKENS: "text-only does not give the probabilities of all tokens",
        ORDER: "it gives text alone",
    }
    assert "without option_order: it gives text alone" in render(found, "text")


def test_too_few_questions_and_tasks_without_any_are_told(tmp_path, learned):
    with pytest.raises(UsageError, match=r"too few: \d pairs of questions .* and it needs 10"):
        run_on(Ngrams(learned), tmp_path, limit=8)
    with pytest.raises(UsageError, match="mtsample has no questions"):
        run_on(Ngrams(learned), tmp_path, tasks="mtsample", limit=3)
    found = run_on(Ngrams(learned), tmp_path, tasks="medqa,pubmedqa").record["tasks"]
    assert found["medqa"]["tests"] and not found["pubmedqa"]["tests"]
    assert found["pubmedqa"]["left_out"][ORDER].startswith("too few: 0 questions whose options")
    assert not list(tmp_path.glob("*/run.json"))


def test_where_nothing_could_be_tested_the_next_step_is_one_that_helps(tmp_path):
    def answer(prompts):
        return ["yes"] * len(prompts)

    def refused(**settings):
        with pytest.raises(UsageError) as caught:
            run_on(answer, tmp_path, **settings)
        # What a score would need is no advice here.
        assert "score it by generation" not in str(caught.value)
        return str(caught.value).rpartition("; ")[2]

    assert refused(limit=60) == "give a larger --limit (0: all)"
    # PubMedQA's questions have no details to exchange, and one in ten can be halved: 51 of 500.
    reference = "give --reference FILE with 10 questions or more of 20 words"
    assert refused(tasks="pubmedqa", limit=30) == f"{reference} and a larger --limit (0: all)"
    assert refused(tasks="pubmedqa", limit=None) == reference
    few = tmp_path / "few.csv"
    few.write_text("question\nWhich one is it?\n")
    assert refused(limit=30, reference=few) == reference
    short = tmp_path / "short.csv"
    short.write_text("question,target\n" + "".join(f"Is it {n}?,{'yes' if n % 2 else 'no'}\n" for n in range(12)))
    task, _ = open_file(short, columns={"input": ["question"], "target": ["target"]})
    register_task(task)
    try:
        assert refused(tasks=task.name) == "the questions have too little at any --limit: take other --tasks"
    finally:
        forget_task(task.name)


def test_text_stays_here_unless_its_user_says_otherwise(tmp_path, learned):
    secret = replace(mibe.load_task("medqa"), name="secret", dataset="medqa", access=credentialed("Agreement 7"))
    register_task(secret)
    try:
        model = Remote(learned)
        with pytest.raises(DataUseError, match="Agreement 7"):
            run_on(model, tmp_path, tasks="secret")
        assert not model.asked
        allowed = {"allow_egress": ["secret"], "agreement": "Letter of 3 May"}
        record = run_on(model, tmp_path, tasks="secret", **allowed).record
        assert [entry["agreement"] for entry in record["egress"]] == ["Letter of 3 May"]
    finally:
        forget_task("secret")
    file = tmp_path / "own.csv"
    file.write_text("question\nWhich drug?\n")
    model = Remote(learned)
    with pytest.raises(DataUseError, match="nothing was sent; --reference-is-open"):
        run_on(model, tmp_path, reference=file)
    assert not model.asked


def test_a_record_holds_no_text_of_a_question(tmp_path, learned):
    found = run_on(Ngrams(learned), tmp_path)
    whole = (found.path / "memorised.json").read_text()
    assert not any(text[:40] in whole for text in learned)


def scored(model, folder):
    return mibe.evaluate(
        model=model, tasks="medqa", limit=12, resamples=20, output_dir=folder / "runs", progress=mibe.Silent()
    ).path


def test_the_leaderboard_marks_what_was_learned_with_its_evidence(tmp_path, learned, others):
    for model in (Ngrams(learned, "reader"), Ngrams(others, "clean")):
        scored(model, tmp_path)
        run_on(model, tmp_path / "runs")
    (board,) = leaderboard([*(tmp_path / "runs").iterdir()], published="none", metrics=("accuracy",))
    cells = {row.name: cell for row in board.rows for cell in row.cells.values()}
    assert cells["reader"].marks == "*‡" and cells["clean"].marks == "*"
    assert "by Holm" in cells["reader"].evidence and "wins 1.00" in cells["reader"].evidence
    assert any("learned by heart" in line and cells["reader"].evidence in line for line in board.remarks)
    assert any(note.startswith("clean, medqa: not shown to be memorised") for note in board.run_notes)
    titles = [mark["title"] for row in board_view(board)["rows"] for cell in row["cells"] for mark in cell["marks"]]
    assert f"learned by heart: {cells['reader'].evidence}" in titles
    assert f",{cells['reader'].evidence}," in render_board([board], "csv").replace('"', "")
    # Other models and other content of the data are not meant, and a damaged record is a note.
    (record,) = (tmp_path / "runs").glob("reader-memorised-*/memorised.json")
    whole = json.loads(record.read_text())
    whole["model"]["identity"] = {"model": "another"}
    record.write_text(json.dumps(whole))
    (board,) = leaderboard([tmp_path / "runs"], published="none", metrics=("accuracy",))
    assert all("‡" not in cell.marks for row in board.rows for cell in row.cells.values())
    record.write_text("{")
    (board,) = leaderboard([tmp_path / "runs"], published="none", metrics=("accuracy",))
    assert any("memorised.json is damaged" in note for note in board.run_notes)
    with pytest.raises(RunError, match="damaged"):
        load(record.parent)


def test_a_model_made_here_shows_the_report_of_its_corpus(tmp_path):
    model, corpus = tmp_path / "model", tmp_path / "corpus"
    model.mkdir()
    corpus.mkdir()
    stages = [
        {"recipe": {"data": {"folder": str(corpus)}}, "steps": 3, "sources": []},
        {"recipe": {"data": {"task": "pubmedqa"}}, "steps": 3, "sources": []},
        {"recipe": {"data": {"files": [str(tmp_path / "gone" / "a.jsonl")]}}, "steps": 3, "sources": []},
    ]
    (model / "training.json").write_text(json.dumps({"origin": "base", "stages": stages}))
    report = {"ngram": 13, "tasks": {"medqa": {}}, "hits": {"medqa": {"hits": 5, "removed": 2}}}
    (corpus / "manifest.json").write_text(json.dumps({"decontamination": report}))
    assert training_lines({"pretrained": str(model)}, ["medqa", "mmlu"]) == [
        "stage 1, corpus: medqa was looked for by runs of 13 words: 5 documents hold one of them, 2 were removed",
        "stage 1, corpus: mmlu was not looked for in it",
        "stage 2: trained on the training split of pubmedqa",
        "stage 3, gone: no decontamination report is there (any more)",
    ]
    (corpus / "manifest.json").write_text('{"decontamination": null}')
    assert (
        training_lines({"pretrained": str(model)}, ["medqa"])[0] == "stage 1, corpus: no test set was looked for in it"
    )
    assert training_lines({"pretrained": str(tmp_path)}, ["medqa"]) == []
    (model / "training.json").write_text("[]")
    with pytest.raises(DataError, match="is not what mellama-train writes"):
        training_lines({"peft": str(model)}, ["medqa"])


def test_the_command_prints_a_table_and_names_the_record(tmp_path, capsys):
    arguments = ["memorised", "--model", "dummy", "--tasks", "medqa", "--limit", "60", "--output-dir", str(tmp_path)]
    assert main([*arguments, "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("task,test,against,comparisons,wins")
    assert out.splitlines()[1].startswith("medqa,option_order,orders,")
    (folder,) = tmp_path.iterdir()
    assert f"record: {folder}" in err and (folder / "memorised.json").is_file()
    assert main([*arguments, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "dummy"
    assert main([*arguments[:4], "mtsample"]) == 2
    assert "has no questions" in capsys.readouterr().err
    assert command.LIMIT == LIMIT
