"""Files of pairs: AMQA's form of answers, EquityMedQA's pairs by a judge, and questions put to a model."""

import csv
import json

import pytest
from scripted import Scripted

from mibe.analysis.pairs import pair_figures
from mibe.analysis.pairs_asked import ask_pairs
from mibe.cli.main import main
from mibe.data.pairs import read_pairs
from mibe.errors import DataError, ModelError, UsageError
from mibe.models.base import Response

COLUMNS = (
    "original_question",
    "desensitized_question",
    "white",
    "black",
    "high_income",
    "low_income",
    "male",
    "female",
)
# The right answer, then a letter for each of the columns.
ROWS = ["D CCDDDCDC", "B BBBBBBBB", "B BBBBBBBB", "D BBDBDBBB", "C BBCACACB", "C CCCBCCCD", "B BBBBBBBB", "D DDDDDDDD"]


def amqa(path, rows=ROWS, prefix="test_model_answer_"):
    lines = []
    for number, row in enumerate(rows):
        target, answers = row.split(" ")
        cells = {prefix + column: answer for column, answer in zip(COLUMNS, answers, strict=True)}
        lines.append(json.dumps({"question_id": str(number), "answer_idx": target} | cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_answers_in_amqas_form_are_counted(tmp_path):
    file = read_pairs(amqa(tmp_path / "a.jsonl"))
    assert list(file.columns) == ["race", "income", "sex", "baseline"] and file.target == "answer_idx"
    # "female" ends in "male", and is no male.
    assert file.columns["sex"] == {"male": "test_model_answer_male", "female": "test_model_answer_female"}
    found = pair_figures(file, resamples=100).fairness
    value = {name: {key: f["value"] for key, f in part["figures"].items()} for name, part in found.items()}
    # By hand: of eight rows, white and black differ in 3, incomes in 3, sexes in 3, the baseline in none.
    assert {name: figures["divergence"] for name, figures in value.items()} == {
        "race": 3 / 8, "income": 3 / 8, "sex": 3 / 8, "baseline": 0,
    }  # fmt: skip
    assert value["race"]["accuracy[white]"] == 1 and value["race"]["accuracy[black]"] == 5 / 8
    assert value["sex"]["accuracy[male]"] == 7 / 8 and value["sex"]["accuracy[female]"] == 4 / 8
    gap = found["race"]["gaps"]["black − white"]
    assert (gap["value"], gap["only_value"], gap["only_first"]) == (-3 / 8, 0, 3)
    assert found["race"]["excess"]["value"] == 3 / 8 and found["race"]["excess"]["n"] == 8


def test_the_command_prints_them_in_every_form(tmp_path, capsys):
    path = str(amqa(tmp_path / "a.jsonl"))
    assert main(["pairs", path, "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["fairness"]["race"]["figures"]["divergence"]["value"] == 0.375
    assert main(["pairs", path, "--format", "csv"]) == 0
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["attribute"] for row in table} == {"race", "income", "sex", "baseline"}
    assert main(["pairs", path]) == 0
    assert "divergence − baseline" in capsys.readouterr().out
    assert main(["pairs", path, "--pair", "race=nothing:black"]) == 2
    assert "has no column 'nothing'" in capsys.readouterr().err


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,target,young,old\n1,A,A,B\n2,B,,B\n3,C,C,C\n")
    file = read_pairs(path, ["age=young:old"])
    found = pair_figures(file, resamples=50)
    assert found.incomplete == {"age": 1}
    assert found.fairness["age"]["figures"]["divergence"]["value"] == 1 / 2


@pytest.mark.parametrize(
    ("name", "text", "given", "said"),
    [
        ("a.jsonl", "", [], "holds no rows"),
        ("a.jsonl", '{"id": "1", "a": "x", "b": "y", "c": "z"}', [], "which columns"),
        ("a.jsonl", '{"id": "1", "a": "x", "b": "y"}', ["a:b"], "is not ATTRIBUTE"),
        ("a.jsonl", '{"id": "1", "a": "x"}\n{"id": "1", "a": "x"}', ["p=a:a"], "is not ATTRIBUTE"),
        ("a.jsonl", '{"id": "1", "a": "x", "b": "y"}\n{"id": "1", "a": "x", "b": "y"}', [], "two rows"),
        ("a.csv", "a,b\nx\n", [], "not as many cells"),
        ("a.jsonl", '{"a": "x", "b": "y", "options": ["one"]}', [], "options are a list"),
    ],
)
def test_what_is_no_such_file_is_said_in_one_line(tmp_path, name, text, given, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises((DataError, UsageError), match=said):
        read_pairs(path, given)


def equity(path):
    """The two questions of a counterfactual pair in a line."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question_1", "question_2"])
        writer.writerows([[f"I am a man {n}, should I see a doctor?", f"I am a woman {n}, and I?"] for n in range(6)])
    return path


def test_questions_are_asked_and_a_judge_compares_the_advice(tmp_path):
    questions = read_pairs(equity(tmp_path / "q.csv"))
    assert questions.columns == {"pair": {"question_1": "question_1", "question_2": "question_2"}}

    def advise(text):
        # The first two women are told to wait; all others to see a doctor, in words of their own.
        return "Wait." if "woman 0" in text or "woman 1" in text else f"See a doctor ({len(text)})."

    model = Scripted(advise)
    ask_pairs(questions, model, tmp_path / "answers.jsonl")
    assert len(model.asked) == 12
    again = Scripted(advise)
    ask_pairs(questions, again, tmp_path / "answers.jsonl")
    assert again.asked == []

    def judge(text):
        return "n" if "Wait." in text else "y"

    answers = read_pairs(tmp_path / "answers.jsonl")
    referee = Scripted(judge, "judge")
    found = pair_figures(answers, judge=referee, resamples=50)
    assert found.fairness["pair"]["figures"]["divergence"]["value"] == 2 / 6
    assert "gaps" not in found.fairness["pair"] and found.unread == {"pair": 0}
    # Two answers in the same words need no judge.
    (tmp_path / "same.jsonl").write_text(json.dumps({"id": "1", "a": "Rest.", "b": " Rest. "}) + "\n")
    idle = Scripted(judge, "idle")
    same = pair_figures(read_pairs(tmp_path / "same.jsonl"), judge=idle, resamples=50)
    assert same.fairness["pair"]["figures"]["divergence"]["value"] == 0 and idle.asked == []


def test_a_judge_that_cannot_be_read_leaves_pairs_out(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"id": n, "a": "Rest.", "b": f"Go {n}."}) + "\n" for n in "12")
    )
    file = read_pairs(tmp_path / "a.jsonl")
    found = pair_figures(file, judge=Scripted(lambda text: "perhaps" if "Go 1" in text else "no", "j"), resamples=50)
    assert found.unread == {"pair": 1} and found.fairness["pair"]["documents"] == 1
    with pytest.raises(ModelError, match="goes on where it stopped"):
        pair_figures(file, judge=Scripted(lambda text: Response(text="", finish_reason="error", error="down"), "k"))
    with pytest.raises(UsageError, match="does not know advice"):
        pair_figures(file, judge="exact")


def test_questions_with_options_are_asked_as_medqas(tmp_path):
    row = {"question_id": "7", "answer_idx": "B", "options": {"A": "rest", "B": "surgery", "C": "aspirin"}}
    lines = row | {"adversarial_white": "A White man is ill. What next?", "adversarial_black": "A Black man is ill?"}
    (tmp_path / "q.jsonl").write_text(json.dumps(lines) + "\n")
    model = Scripted(lambda text: "The answer is B." if "White" in text else "I cannot say.")
    ask_pairs(read_pairs(tmp_path / "q.jsonl"), model, tmp_path / "a.jsonl")
    assert "select one correct answer from A to C" in model.asked[0] and "B. surgery" in model.asked[0]
    answers = json.loads((tmp_path / "a.jsonl").read_text())
    assert answers == {"id": "7", "answer_idx": "B", "adversarial_white": "B", "adversarial_black": "none"}
    found = pair_figures(read_pairs(tmp_path / "a.jsonl"), resamples=50).fairness["race"]
    assert found["figures"]["accuracy[white]"]["value"] == 1 and found["figures"]["divergence"]["value"] == 1


def test_the_command_asks_and_counts(tmp_path, capsys):
    path = str(equity(tmp_path / "q.csv"))
    assert main(["pairs", path, "--model", "dummy"]) == 2
    assert "--answers FILE" in capsys.readouterr().err
    assert main(["pairs", path, "--model", "dummy", "--answers", str(tmp_path / "a.jsonl")]) == 0
    assert "divergence" in capsys.readouterr().out
