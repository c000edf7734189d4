"""YAML tasks of lm-eval: what can be said in columns is converted, the rest is named, and nothing is run."""

import json

import pytest

from mibe.cli.main import main
from mibe.data.documents import examples
from mibe.errors import DataError, UsageError
from mibe.own.lm_eval import converted
from mibe.prompting import plain_text
from mibe.registry import load_task

GENERATED = r"""
task: discharge
dataset_path: json
dataset_kwargs:
  data_files: {test: test.jsonl, train: train.jsonl}
output_type: generate_until
description: "Answer from the letter.\n"
doc_to_text: "Letter: {{letter}}\nQuestion: {{ question | trim }}\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\n"], max_gen_toks: 32, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
  - {metric: bleu}
filter_list:
  - {name: x, filter: [{function: take_first}]}
num_fewshot: 3
metadata: {version: 2.0}
"""
CHOICE = """
task: board
dataset_path: csv
dataset_kwargs: {data_files: board.csv}
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{right}}"
doc_to_choice: "{{[a, b, c]}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
FIXED = """
task: entail
dataset_path: json
dataset_kwargs: {data_files: {validation: pairs.jsonl}}
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{premise}}\\nTrue or false? {{claim}}\\nAnswer:"
doc_to_target: label
doc_to_choice: ["true", "false"]
metric_list: [{metric: acc}]
"""


def rows(path, *found):
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def added(tmp_path, text, capsys):
    path = tmp_path / "task.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["data", "add", "--from", "lm-eval", str(path), "--access", "open"]) == 0
    return capsys.readouterr().err


def test_a_generated_answer(tmp_path, capsys):
    row = {"letter": "No fever.", "question": "Fever?", "answer": "no"}
    rows(tmp_path / "test.jsonl", row)
    rows(tmp_path / "train.jsonl", row | {"letter": "A fever.", "answer": "yes"})
    told = added(tmp_path, GENERATED, capsys)
    task = load_task("discharge")
    (example,) = examples(task, "test")
    assert plain_text(task.prompt, (), example) == (
        "Answer from the letter.\nLetter: No fever.\nQuestion: Fever?\nAnswer:"
    )
    assert (task.headline, task.shots, task.max_new_tokens, task.version) == ("exact_match", 3, 32, 2)
    assert example.target == "no"
    for part in ("filter_list is left out", "metrics left out: bleu", "until is left out"):
        assert part in told


def test_options_in_columns(tmp_path, capsys):
    (tmp_path / "board.csv").write_text("question,a,b,c,right\nWhich?,x,y,z,2\n", encoding="utf-8")
    told = added(tmp_path, CHOICE, capsys)
    task = load_task("board")
    (example,) = examples(task, "test")
    # In lm-eval a number counts the choices from 0.
    assert example.target == "C" and example.choices == ("x", "y", "z") and task.headline == "accuracy"
    assert plain_text(task.prompt, (), example).endswith("Question: Which?\nA. x\nB. y\nC. z\nAnswer:")
    assert "metrics left out: acc_norm" in told and "lettered lines" in told


def test_options_that_are_the_same_for_every_row(tmp_path, capsys):
    pair = {"premise": "No fever.", "claim": "He has a fever."}
    rows(tmp_path / "pairs.jsonl", pair | {"label": 1}, pair | {"claim": "He has none.", "label": 0})
    added(tmp_path, FIXED, capsys)
    task = load_task("entail")
    assert [example.target for example in examples(task, "test")] == ["false", "true"]
    assert task.labels == ("true", "false") and task.parser("False.") == "false"


@pytest.mark.parametrize(
    ("target", "choices", "right", "gold"),
    [
        ("\"{{['A','B','C'].index(right)}}\"", '"{{[a, b, c]}}"', "B", "B"),
        ("\"{{['1', '2', '3'].index(right)}}\"", '"{{[a, b, c]}}"', "3", "C"),
        ("\"{{['first','second','third'].index(right)}}\"", '["x", "y", "z"]', "second", "y"),
        ("\"{{['x', 'y', 'z'][right]}}\"", '["x", "y", "z"]', "2", "z"),
    ],
)
def test_targets_that_are_looked_up_in_a_list(tmp_path, capsys, target, choices, right, gold):
    (tmp_path / "board.csv").write_text(f"question,a,b,c,right\nWhich?,x,y,z,{right}\n", encoding="utf-8")
    text = CHOICE.replace('"{{right}}"', target).replace('"{{[a, b, c]}}"', choices)
    added(tmp_path, text, capsys)
    assert [example.target for example in examples(load_task("board"), "test")] == [gold]


def test_numbers_that_may_be_labels_or_places_are_refused(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text(FIXED.replace('["true", "false"]', '["1", "2"]'), encoding="utf-8")
    with pytest.raises(UsageError, match="numbers in label may be the labels 1, 2 or their places"):
        converted(path)


def test_what_cannot_be_converted_is_all_named_and_not_run(tmp_path):
    path = tmp_path / "task.yaml"
    mark = tmp_path / "was_run"
    (tmp_path / "utils.py").write_text(f"open({str(mark)!r}, 'w')\ndef f(doc): return doc\n", encoding="utf-8")
    path.write_text(
        "task: a\ndataset_path: org/hub_set\noutput_type: loglikelihood\nprocess_docs: !function utils.f\n"
        "doc_to_text: !function utils.f\ndoc_to_target: '{{answer.split()[0]}}'\n",
        encoding="utf-8",
    )
    with pytest.raises(UsageError) as error:
        converted(path)
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "output_type loglikelihood: only generate_until and multiple_choice have a like here",
        "process_docs: the function utils.f, which is not run",
        "doc_to_text: the function utils.f, which is not run",
        "dataset_path: org/hub_set is not on this disk; save it (load_dataset(…).save_to_disk(FOLDER)) and name the "
        "folder, or give data_files",
        "doc_to_target: '{{answer.split()[0]}}' is no column",
    ]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("{{letter}}", "{% for l in x %}{{l}}{% endfor %}"), "of Jinja only {{column}} is understood"),
        (("{{letter}}", "{{letter[:10]}}"), "of Jinja only {{column}} is understood"),
        (('description: "', 'description: "{{x}}'), "description: only plain text"),
        (("task: discharge", "task: [a, b]"), "it is a group of tasks"),
        (("test: test.jsonl", "test: [a.jsonl, b.jsonl]"), "test has several files"),
    ],
)
def test_templates_that_are_no_columns(tmp_path, change, why):
    path = tmp_path / "task.yaml"
    path.write_text(GENERATED.replace(*change), encoding="utf-8")
    with pytest.raises(UsageError, match=why.replace("{", r"\{")):
        converted(path)


def test_an_included_file_and_files_that_are_no_tasks(tmp_path):
    (tmp_path / "base.yaml").write_text(GENERATED, encoding="utf-8")
    path = tmp_path / "task.yaml"
    path.write_text("include: base.yaml\ntask: other\nnum_fewshot: 0\n", encoding="utf-8")
    found, _ = converted(path)
    assert (found.name, found.shots, found.columns.input) == ("other", 0, ("letter", "question"))
    for text, why in [("a: [", "is no YAML"), ("- a", "holds no task"), ("include: task.yaml", "names one other file")]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=why):
            converted(path)
    path.write_text("a: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(DataError, match="is no YAML"):
        converted(path)
