"""A file as a task: kinds, targets, prompts, metrics; gold answers are read as themselves, and bad rows all named."""

import csv
import json

import pytest

from mibe.analysis.check import check
from mibe.cli.own import ACCESS, KINDS
from mibe.data.documents import examples
from mibe.errors import DataError, UsageError
from mibe.own.kinds import Kind, guess
from mibe.own.opening import open_file
from mibe.prompting import plain_text
from mibe.task import AccessLevel, Category

TEXT = "Took aspirin for pain."
GOLD = [["drug", 5, 12], ["problem", 17, 21]]


def table(folder, rows, name="data.csv"):
    path = folder / name
    if name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def opened(path, **said):
    """The task, its test examples, and what was said; its gold answers are right by its own parser and metrics."""
    task, lines = open_file(path, **said)
    assert all(not found.misread for found in check(task)), check(task)
    return task, list(examples(task, "test")), lines


URGENCY = [{"note": note, "urgency": label} for note, label in zip("abcdefgh", ["urgent", "routine"] * 4, strict=True)]


def test_one_label(tmp_path):
    task, rows, lines = opened(table(tmp_path, URGENCY), columns={"input": "note", "target": "urgency"})
    assert task.labels == ("routine", "urgent") and task.category is Category.CLASSIFICATION
    assert task.headline == "accuracy" and [row.target for row in rows[:2]] == ["urgent", "routine"]
    assert "one label: routine 4, urgent 4 (a guess; another kind: --kind)" in lines[0]
    assert plain_text(task.prompt, (), rows[0]) == (
        "Read the note and give the urgency. Answer with one of these labels and nothing else: routine, urgent.\n"
        "NOTE: a\nANSWER:"
    )
    assert task.parser("The answer is Urgent.") == "urgent"


def test_labels_in_the_order_given_and_codes_that_stand_for_them(tmp_path):
    rows = [{"note": str(n), "code": n % 2} for n in range(6)]
    task, rows, _ = opened(
        table(tmp_path, rows),
        columns={"input": "note", "target": "code"},
        labels=["urgent", "routine"],
        aliases={"0": "routine", "1": "urgent"},
    )
    assert [row.target for row in rows[:2]] == ["routine", "urgent"] and task.labels == ("urgent", "routine")
    # A number is the label where it is the answer, and no number within a sentence.
    assert task.parser("1") == "urgent" and task.parser("There is 1 finding; routine.") == "routine"


def test_a_set_of_labels_all_of_which_may_be_right(tmp_path):
    sets = ["fever; cough", "fever", "", "cough;fever;rash", "rash|cough", "fever"]
    path = table(tmp_path, [{"note": f"n{i}", "signs": found} for i, found in enumerate(sets)])
    task, rows, lines = opened(path, columns={"input": "note", "target": "signs"})
    assert [row.target for row in rows] == [
        ["cough", "fever"],
        ["fever"],
        [],
        ["cough", "fever", "rash"],
        ["cough", "rash"],
        ["fever"],
    ]
    assert task.prompt.answer(rows[2]) == "none" and "a set of labels: cough 3, fever 4, rash 2" in lines[0]


def test_where_no_row_has_all_labels_all_of_them_are_the_prompt_repeated(tmp_path):
    path = table(tmp_path, [{"note": f"n{i}", "signs": found} for i, found in enumerate(["a1, b2", "c3", "none"])])
    task, _, _ = opened(path, columns={"input": "note", "target": "signs"}, kind="labels", labels=["a1", "b2", "c3"])
    assert task.parser("a1; b2; c3") is None and task.parser("a1; b2") == ["a1", "b2"]


def test_labels_that_are_ordinary_words_count_as_answers_alone(tmp_path):
    rows = [{"q": str(n), "a": ["yes", "no"][n % 2]} for n in range(6)]
    task, _, _ = opened(table(tmp_path, rows), columns={"input": "q", "target": "a"})
    assert task.parser("There is no difference between groups.") is None
    assert task.parser("Yes, no doubt.") == "yes" and task.parser("no") == "no"


def test_a_label_that_is_called_none(tmp_path):
    rows = [{"q": str(n), "a": found} for n, found in enumerate(["none", "fever; cough", "fever", "none"])]
    said = {"columns": {"input": "q", "target": "a"}, "kind": "labels", "labels": ["fever", "cough", "none"]}
    task, found, _ = opened(table(tmp_path, rows), **said)
    assert found[0].target == ["none"] and "if none applies" not in task.prompt.instruction
    with pytest.raises(DataError, match="line 6: no label; 'none' is one"):
        open_file(table(tmp_path, [*rows, {"q": "5", "a": ""}]), **said)


@pytest.mark.parametrize(
    ("rows", "choices", "targets"),
    [
        ([{"q": "?", "A": "x", "B": "y", "C": "", "answer": "b"}], ["A", "B", "C"], ["B"]),
        ([{"q": "?", "o": ["x", "y", "z"], "answer": "z"}], "o", ["C"]),
        ([{"q": "?", "o": {"A": "x", "B": "y"}, "answer": "A."}], "o", ["A"]),
        (
            [
                {"q": "?", "o": {"label": ["A", "B"], "text": ["x", "y"]}, "answer": 1},
                {"q": "!", "o": ["x", "y"], "answer": 0},
            ],
            "o",
            ["B", "A"],
        ),
        ([{"q": "?", "o": ["x", "y"], "answer": 1}, {"q": "!", "o": ["x", "y"], "answer": 2}], "o", ["A", "B"]),
        # As MedXpertQA has them.
        (
            [{"q": "?", "o": [{"letter": "A", "content": "x"}, {"letter": "B", "content": "y"}], "answer": ["B"]}],
            "o",
            ["B"],
        ),
        # A number that is an option's own text is that option.
        ([{"q": "2+2", "o": ["3", "4"], "answer": "4"}, {"q": "1+1", "o": ["2", "1"], "answer": "2"}], "o", ["B", "A"]),
    ],
)
def test_multiple_choice(tmp_path, rows, choices, targets):
    path = table(tmp_path, rows, "data.jsonl")
    task, found, _ = opened(path, columns={"input": "q", "choices": choices, "target": "answer"})
    assert [row.target for row in found] == targets and task.category is Category.QA
    assert "OPTIONS:\nA. x" in plain_text(task.prompt, (), found[0]) or found[0].choices[0] == "3"


def test_numbers_that_could_count_from_0_or_1_are_asked_about(tmp_path):
    path = table(tmp_path, [{"q": "?", "o": ["x", "y", "z"], "answer": 1}], "data.jsonl")
    columns = {"input": "q", "choices": "o", "target": "answer"}
    with pytest.raises(UsageError, match="--first-option 0 or 1"):
        open_file(path, columns=columns)
    assert opened(path, columns=columns, first_option=1)[1][0].target == "A"


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (
            [
                {"text": TEXT, "gold": 'Took <span class="drug">aspirin</span> for <problem>pain</problem>.'},
                {"text": "No.", "gold": "No."},
            ],
            {"input": "text", "target": "gold"},
        ),
        (
            [
                {"gold": 'Took <span class="drug">aspirin</span> for <span class="problem">pain</span>.'},
                {"gold": "No."},
            ],
            {"target": "gold"},
        ),
        (
            [
                {"text": TEXT, "gold": [{"start": 5, "end": 12, "label": "drug"}, [17, 21, "problem"]]},
                {"text": "No.", "gold": []},
            ],
            {"input": "text", "target": "gold"},
        ),
        (
            [
                {"text": TEXT, "from": 5, "to": 12, "type": "drug"},
                {"text": TEXT, "from": 17, "to": 21, "type": "problem"},
                {"text": "No.", "from": None, "to": None, "type": None},
            ],
            {"input": "text", "target": ["from", "to", "type"]},
        ),
    ],
)
def test_spans_in_each_form_are_the_same_task(tmp_path, rows, columns):
    path = table(tmp_path, rows, "data.jsonl")
    task, found, _ = opened(path, columns=columns)
    assert [(row.inputs["text"], row.target) for row in found] == [(TEXT, GOLD), ("No.", [])]
    assert task.category is Category.NER and task.headline == "micro_f1"
    assert task.parser("Took aspirin for <problem>pain</problem>.", inputs=found[0].inputs) == [["problem", 17, 21]]


def test_answers_summaries_and_ranked_lists(tmp_path):
    path = table(tmp_path, [{"q": "dose?", "a": ["5 mg", "5mg"]}, {"q": "who?", "a": "Dr. A"}], "answers.jsonl")
    task, rows, _ = opened(path, columns={"input": "q", "target": "a"})
    assert rows[0].target == ["5 mg", "5mg"] and task.headline == "exact_match"
    path = table(tmp_path, [{"findings": "f", "impression": "word " * 30}], "sums.csv")
    assert opened(path, columns={"input": "findings", "target": "impression"})[0].headline == "rougeL"
    path = table(tmp_path, [{"case": "c", "diagnosis": "Gout; Podagra"}], "ranked.csv")
    task, rows, _ = opened(path, columns={"input": "case", "target": "diagnosis"}, kind="ranked")
    assert rows[0].target == ["Gout", "Podagra"] and task.headline == "top1_accuracy"


def test_kinds_are_guessed_from_the_column():
    def of(*targets, labels=(), has_choices=False, columns=1):
        return guess(targets, labels=labels, has_choices=has_choices, columns=columns)

    assert of("yes", "no", "yes", "no") is Kind.LABEL
    assert of("a;b", "a", "b", "a") is Kind.LABELS and of(["a"], ["b"], ["a", "b"]) is Kind.LABELS
    assert of("yes", "no", labels=["yes", "no"]) is Kind.LABEL
    assert of("x", has_choices=True) is Kind.CHOICE
    assert of(1, columns=3) is Kind.SPANS and of("<b>x</b>", "y") is Kind.SPANS
    assert of("one", "two", "three") is Kind.ANSWER
    assert of(" ".join(["word"] * 25), "short") is Kind.ANSWER and of("word " * 25) is Kind.SUMMARY


def test_the_command_line_knows_the_same_kinds_and_levels():
    assert tuple(Kind) == KINDS and set(ACCESS) == set(AccessLevel)


def test_every_bad_row_is_named_with_its_line(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text(
        'id,note,urgency\n1,a,urgent\n2,b,urgnt\n3," ",routine\n4,"d\nd",\n4,e,routine\n,f,routine\n7,g\n',
        encoding="utf-8",
    )
    with pytest.raises(DataError) as error:
        open_file(path, columns={"input": "note", "target": "urgency", "id": "id"}, labels=["urgent", "routine"])
    assert str(error.value).splitlines() == [
        "notes.csv: 5 rows cannot be used; correct the data:",
        "  line 3: 'urgnt' is none of the labels; did you mean urgent?",
        "  line 4: note is empty",
        "  line 5: urgency is empty",
        "  line 8: id is empty",
        "  line 9: 2 cells where the header has 3",
    ]


def test_ids(tmp_path):
    path = table(tmp_path, [{"id": "p1", "note": "a", "label": "x"}, {"id": "p1", "note": "b", "label": "x"}])
    columns = {"input": "note", "target": "label"}
    # A column named id that names rows twice is no id; one that is named as such has to be.
    _, rows, lines = opened(path, columns=columns, kind="label")
    assert [row.id.split("-")[0] for row in rows] == ["1", "2"]
    assert any("the column 'id' does not name the rows ('p1' stands in 2 rows)" in line for line in lines)
    with pytest.raises(DataError, match="line 3: the id 'p1' stands in line 2 too"):
        open_file(path, columns={**columns, "id": "id"}, kind="label")
    zero = table(tmp_path, [{"id": n, "note": "a", "label": "x"} for n in (0, 1)], "zero.jsonl")
    assert [row.id for row in opened(zero, columns=columns, kind="label")[1]] == ["0", "1"]
    # Without an id, a row is another document as soon as its text is another.
    table(tmp_path, [{"id": "p1", "note": "a", "label": "x"}, {"id": "p1", "note": "changed", "label": "x"}])
    changed = opened(path, columns=columns, kind="label")[1]
    assert changed[0].id == rows[0].id and changed[1].id != rows[1].id


def test_columns_that_are_not_there_are_all_named_with_the_nearest(tmp_path):
    path = table(tmp_path, URGENCY)
    with pytest.raises(UsageError) as error:
        open_file(path, columns={"input": "nota", "target": "urgancy", "cluster": "patient"})
    assert str(error.value).splitlines() == [
        "data.csv has note, urgency; these columns are not there:",
        "  'nota' (did you mean 'note'?)",
        "  'urgancy' (did you mean 'urgency'?)",
        "  'patient'",
    ]
    with pytest.raises(
        UsageError, match=r"data.csv has no column 'Note' \(did you mean 'note'\?\); it has note, urgency"
    ):
        open_file(path, columns={"input": "Note", "target": "urgency"})
    with pytest.raises(
        UsageError, match=r"name the columns of data.csv: input and target \(--input, --target\); it has"
    ):
        open_file(path)
    with pytest.raises(UsageError, match="'note' is the target and an input"):
        open_file(path, columns={"input": "note", "target": "note"})


def test_columns_of_any_name_can_be_shown(tmp_path):
    rows = [{"Note [1]": "a", "Vital signs: bp.sys": n, "y": "xz"[n % 2]} for n in range(4)]
    columns = {"input": ["Note [1]", "Vital signs: bp.sys"], "target": "y"}
    task, found, _ = opened(table(tmp_path, rows), columns=columns)
    assert plain_text(task.prompt, (), found[1]).endswith("NOTE 1: a\nVITAL SIGNS BP SYS: 1\nANSWER:")
    with pytest.raises(UsageError, match="differ only in marks"):
        open_file(
            table(tmp_path, [{"a.b": "1", "a:b": "2", "y": "x"}]), columns={"input": ["a.b", "a:b"], "target": "y"}
        )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"metrics": ["macro_f2"]}, "unknown metric 'macro_f2'; did you mean macro_f1"),
        ({"kind": "multiple-choice"}, "name the columns of the options: --choices"),
        ({"name": "mmlu"}, "the name 'mmlu' is taken; give the task another"),
        ({"columns": {"input": "note", "target": "urgency", "choices": ["note", "urgency"]}, "labels": ["x"]}, "leave"),
        ({"name": "a b"}, r"name: string should match pattern '\^\[A-Z"),
        ({"labels": ["urgent", "routine"], "aliases": {"stat": "urgnt"}}, "urgnt is none of them"),
        ({"prompt": {"input": "NOTE: {nota}"}}, "unknown column in the prompt's input 'nota'; did you mean note"),
        ({"prompt": {"input": "NOTE:"}}, "does not show {note}"),
        ({"prompt": {"input": "{note.__class__}"}}, "unknown column"),
        ({"prompt": {"cut": ["urgency"]}}, "unknown column in cut 'urgency'"),
        (
            {"columns": {"input": "note", "target": ["urgency", "urgency"]}, "kind": "label"},
            "only spans have more than one",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, said, why):
    path = table(tmp_path, URGENCY)
    with pytest.raises(UsageError, match=why):
        open_file(path, **{"columns": {"input": "note", "target": "urgency"}, **said})


def test_labels_that_no_parser_can_tell_apart_are_refused(tmp_path):
    signs = [{"note": str(n), "result": "+-"[n % 2]} for n in range(6)]
    columns = {"input": "note", "target": "result"}
    with pytest.raises(UsageError, match="have neither letters nor digits; say in a task file"):
        open_file(table(tmp_path, signs), columns=columns)
    task, rows, _ = opened(table(tmp_path, signs), columns=columns, aliases={"+": "positive", "-": "negative"})
    assert task.labels == ("negative", "positive") and rows[0].target == "positive"
    alike = [{"note": str(n), "result": ["Stage I", "stage-i"][n % 2]} for n in range(6)]
    with pytest.raises(UsageError, match="no parser can tell the labels"):
        open_file(table(tmp_path, alike), columns=columns)


def test_marks_that_are_wrong_are_bad_rows(tmp_path):
    rows = [
        {"text": "Took aspirin.", "gold": "Took <drug>aspirin</drug>."},
        {"text": "Took aspirin.", "gold": "Took <drgu>aspirin</drgu>."},
        {"text": "Took aspirin.", "gold": "Took <drug>aspirin</drug> <drug>."},
        {"text": "Took ibuprofen.", "gold": "Took <drug>aspirin</drug>."},
    ]
    with pytest.raises(DataError) as error:
        open_file(table(tmp_path, rows), columns={"input": "text", "target": "gold"}, kind="spans", labels=["drug"])
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "line 3: a mark of the type 'drgu', which is none of drug",
        "line 4: a mark is not closed, or is around nothing",
        "line 5: gold without its marks is not the text of text",
    ]


def test_spans_that_cross_are_said(tmp_path):
    rows = [{"text": "left arm pain", "gold": [["site", 0, 8], ["sign", 5, 13]]}]
    _, lines = open_file(table(tmp_path, rows, "data.jsonl"), columns={"input": "text", "target": "gold"})
    assert "1 row has spans that cross" in lines[1]
