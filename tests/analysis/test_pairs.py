"""Files of pairs: AMQA's form of answers, EquityMedQA's pairs by a judge, and questions put to a model."""

import csv
import json

import pytest
from scripted import Scripted

from mibe.analysis.pairs import pair_figures
from mibe.analysis.pairs_asked import ask_pairs
from mibe.cli.main import main
from mibe.data.pairs import read_pairs
from mibe.errors import DataError, DataUseError, ModelError, UsageError
from mibe.models.base import Response
from mibe.task import AccessLevel
from mibe.terminal.news import heard_by

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
        ("a.csv", "id,a_white,a_black,a_black\n1,A,B,A\n", [], "two columns are called 'a_black'"),
        ("a.csv", "id,a_white,a_black,b_black\n1,A,B,A\n", [], "a_black and b_black are columns of one value"),
        ("a.csv", "id,a,b,c,d\n1,A,B,A,A\n", ["race=a:b", "race=c:d"], "--pair race stands twice"),
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


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_letter_is_the_same_however_it_is_written(tmp_path, letter):
    path = tmp_path / "a.csv"
    written = [f"{letter}.", f"({letter})", letter.lower(), f"Answer: {letter}", f"**{letter}**", "D"]
    lines = [f"{number},{letter},{text},{letter}" for number, text in enumerate(written)]
    path.write_text("\n".join(["id,a_white,a_black,answer_idx", *lines]) + "\n")
    part = pair_figures(read_pairs(path), resamples=50).fairness["race"]
    value = {name: figure["value"] for name, figure in part["figures"].items()}
    # Of six rows the last one alone has another letter.
    assert value == {"divergence": 1 / 6, "accuracy[white]": 1, "accuracy[black]": 5 / 6}
    # The same without right answers, where most answers are letters alone.
    path.write_text("\n".join(["id,a_white,a_black", *(line.rpartition(",")[0] for line in lines)]) + "\n")
    found = pair_figures(read_pairs(path), resamples=50).fairness["race"]
    assert found["figures"]["divergence"]["value"] == 1 / 6 and "gaps" not in found


def test_an_options_text_is_its_letter_and_labels_are_no_letters(tmp_path):
    row = {"options": ["aspirin", "heparin", "rest"], "answer_idx": "B"}
    rows = [row | {"id": "1", "a": "B", "b": "Heparin."}, row | {"id": "2", "a": "(C)", "b": "b"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    part = pair_figures(read_pairs(tmp_path / "a.jsonl", ["way=a:b"]), resamples=50).fairness["way"]
    assert {name: figure["value"] for name, figure in part["figures"].items()} == {
        "divergence": 1 / 2, "accuracy[a]": 1 / 2, "accuracy[b]": 1,
    }  # fmt: skip
    (tmp_path / "b.csv").write_text("id,a,b\n1,yes,Yes.\n2,Plan A,Plan B\n")
    part = pair_figures(read_pairs(tmp_path / "b.csv"), resamples=50).fairness["pair"]
    assert part["figures"]["divergence"]["value"] == 1 / 2


def test_accuracy_is_of_rows_that_have_a_right_answer(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("id,a_white,a_black,answer_idx\n1,A,B,A\n2,C,C,\n3,B,B,B\n4,D,D, \n")
    found = pair_figures(read_pairs(path), resamples=50)
    figures = found.fairness["race"]["figures"]
    # One pair of four differs; of the two with a right answer white has both and black one.
    assert (figures["divergence"]["value"], figures["divergence"]["n"]) == (1 / 4, 4)
    white, black = (figures[f"accuracy[{value}]"] for value in ("white", "black"))
    assert (white["value"], white["n"], black["value"], black["n"]) == (1, 2, 1 / 2, 2)
    assert found.untold == {"race": 2} and found.fairness["race"]["gaps"]["black − white"]["n"] == 2
    assert main(["pairs", str(path)]) == 0
    assert "race: 2 rows have no right answer" in capsys.readouterr().out
    path.write_text("id,a_white,a_black,answer_idx\n1,A,B,\n2,C,C,\n")
    found = pair_figures(read_pairs(path), resamples=50)
    assert set(found.fairness["race"]["figures"]) == {"divergence"} and found.untold == {"race": 0}


class Remote(Scripted):
    """Behind an API, as far as anybody knows."""

    name = "far away"
    is_remote = True


def test_text_of_a_file_reaches_no_remote_model_without_its_users_word(tmp_path):
    path, answers = equity(tmp_path / "own.csv"), tmp_path / "answers.jsonl"
    questions = read_pairs(path)
    model = Remote(lambda text: f"See a doctor ({len(text)}).")
    for words in ({}, {"allow_egress": ["own"]}, {"agreement": "x"}, {"allow_egress": ["other"], "agreement": "x"}):
        with pytest.raises(DataUseError, match="own came under .* nothing was sent.*--allow-egress own"):
            ask_pairs(questions, model, answers, **words)
        with pytest.raises(DataUseError, match="--access open"):
            pair_figures(questions, judge=model, **words)
    assert model.asked == [] and not answers.exists()
    word = {"allow_egress": ["own"], "agreement": "addendum 7"}
    told = []
    with heard_by(told.append):
        leaving = ask_pairs(questions, model, answers, **word)
    assert (leaving.task, leaving.receiver, leaving.agreement) == ("own", "far away", "addendum 7")
    assert told == ["text of own goes to far away, which its user says is permitted: addendum 7"]
    assert answers.stat().st_mode & 0o777 == 0o600
    judge = Remote(lambda text: "y", "judge")
    assert [each.task for each in pair_figures(questions, judge=judge, resamples=50, **word).egress] == ["own"]
    # What its user says everybody may see goes anywhere, and its answers are no secret.
    everybody = read_pairs(path, access=AccessLevel.OPEN)
    answers.unlink()
    assert ask_pairs(everybody, Remote(lambda text: "Rest.", "third"), answers) is None
    assert answers.stat().st_mode & 0o077 and pair_figures(everybody, judge=judge, resamples=50).egress == ()


def test_the_error_of_a_model_does_not_quote_the_text(tmp_path):
    questions = read_pairs(equity(tmp_path / "own.csv"))

    def fail(text):
        raise RuntimeError(f"cannot read {text}")

    with pytest.raises(ModelError) as caught:
        ask_pairs(questions, Scripted(fail, None), tmp_path / "answers.jsonl")
    assert "I am a" not in str(caught.value) and "own" in str(caught.value)


def test_the_command_refuses_to_send_and_to_judge_before_anything_is_sent(tmp_path, capsys):
    path = equity(tmp_path / "own.csv")
    server = ["base_url=http://api.example.invalid/v1", "model=m"]
    asked = ["pairs", str(path), "--model", "openai", "--model-args", ",".join(server)]
    assert main([*asked, "--answers", str(tmp_path / "answers.jsonl")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "nothing was sent" in said and "--access open" in said
    assert not (tmp_path / "answers.jsonl").exists()
