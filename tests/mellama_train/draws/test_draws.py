"""Pairs and traces of a task's own draws: which are taken, what is refused, and what is known of them afterwards."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

pytest.importorskip("datatrove", reason="datatrove comes with the extra train")

from drawn_runs import InTurn, drawn_run
from preference_parts import answering, look_through_one_test_set
from rl_parts import pubmedqa_documents, write_split
from scripted import Scripted

import mibe
from mellama_train.cli import main
from mellama_train.draws.judged import Asked, Draw
from mellama_train.draws.pairs import PairChoice, pairs_of
from mellama_train.draws.traces import TraceChoice, traces_of
from mellama_train.model.provenance import altered, built_test_sets, file_sources
from mellama_train.rows.pairs import read_pairs
from mellama_train.rows.samples import read_samples
from mibe.models.identity import source_identity
from mibe.task import Example


@pytest.fixture(autouse=True)
def few_documents(own_folders, monkeypatch):
    """Six short questions of PubMedQA's form to train on and three to be tested on."""
    write_split(own_folders / "data", "pubmedqa", "train", pubmedqa_documents(6))
    write_split(own_folders / "data", "pubmedqa", "test", pubmedqa_documents(3, start=100))
    look_through_one_test_set(monkeypatch)


NEUTRAL = Example("t", {"premise": "A.", "hypothesis": "B."}, "neutral")


def right(answer):
    return f"<think>The trial says so.</think>{answer}"


def wrong(answer):
    return "no" if answer == "yes" else "yes"


def hard(answer):
    """Right on all but the documents whose answer is maybe."""
    return right(answer) if answer != "maybe" else "yes"


def made_run(folder, answers, **settings):
    return drawn_run(folder, [answering(each) for each in answers], tasks=["pubmedqa"], **{"split": "train"} | settings)


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_pairs_are_right_and_wrong_draws_of_one_document(tmp_path, capsys):
    run = made_run(tmp_path / "runs", [hard, wrong, hard])
    file = tmp_path / "draws" / "pairs.jsonl"
    assert main(["pairs", str(run.path), "--output", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(file)
    # The two documents of which the answer is maybe have wrong draws alone.
    assert "pubmedqa: 4 pairs of 4 documents; of 6 asked 4 have a right draw and 6 a wrong one" in said.err
    found = lines(file)
    documents = {example.id: example for example in mibe.examples(mibe.load_task("pubmedqa"), "train")}
    asked = {s.id: list(s.messages) for s in mibe.training_samples(mibe.load_task("pubmedqa"))}
    assert [line["id"] for line in found] == ["0", "1", "3", "4"]
    for line in found:
        target = documents[line["id"]].target
        assert line["prompt"] == asked[line["id"]]
        assert line["chosen"] == [{"role": "assistant", "content": right(target)}]
        assert line["rejected"] == [{"role": "assistant", "content": wrong(target)}]
        assert line["scores"] == [1.0, 0.0] and line["draws"][1] == 1 and line["source"] == "pubmedqa"
    # What is trained on them reads each as it stands, and knows their terms and what was looked for.
    assert [pair.rejected.messages[-1]["content"] for pair in read_pairs(file)] == [
        line["rejected"][0]["content"] for line in found
    ]
    (source,) = file_sources([file])
    assert (source.name, source.access) == ("pubmedqa", "open")
    manifest = json.loads((file.parent / "manifest.json").read_text())
    assert manifest["decontamination"] == {"tasks": ["pubmedqa"], "hits": {}}
    about = manifest["files"]["pairs.jsonl"]
    assert (about["what"], about["run"], about["model"]["identity"]) == ("pairs", str(run.path), {"model": "m"})
    assert main(["instructions", "show", str(file.parent)]) == 0
    assert "pubmedqa" in capsys.readouterr().out
    # The same command writes the same file.
    before = file.read_bytes()
    assert main(["pairs", str(run.path), "--output", str(file)]) == 0 and file.read_bytes() == before


def draws(*texts):
    """Draws that are right where they say yes."""
    scores = [float(text.lower().startswith("yes")) for text in texts]
    return Asked("7", (), tuple(map(Draw, range(len(texts)), texts, scores, scores)))


def test_draws_of_like_length_come_first_and_those_too_unlike_not_at_all():
    some = draws("yes " + "a" * 36, "no " + "b" * 97, "yes " + "c" * 90, "no " + "d" * 40)
    matched = pairs_of(some, PairChoice(most=4, length=0.2))
    assert [(a.number, b.number) for a, b in matched] == [(2, 1), (0, 3)]
    assert [(a.number, b.number) for a, b in pairs_of(some, PairChoice(most=4, length=0.07))] == [(2, 1)]
    assert pairs_of(some, PairChoice(length=0.01)) == []
    # Without, chance decides, each draw standing in one pair.
    several = pairs_of(some, PairChoice(most=4))
    assert sorted(draw.number for pair in several for draw in pair) == [0, 1, 2, 3]
    found = {pairs_of(some, PairChoice(seed=seed))[0][1].number for seed in range(20)}
    assert found == {1, 3}


def test_a_graded_answer_is_right_and_wrong_by_its_score():
    some = Asked("7", (), tuple(Draw(n, f"summary {n}", score, score) for n, score in enumerate((0.1, 0.35, 0.6))))
    ((better, worse),) = pairs_of(some, PairChoice(right=0.5, wrong=0.2))
    assert (better.number, worse.number) == (2, 0)
    assert [draw.number for draw in traces_of(some, TraceChoice(right=0.3))] == [1, 2]


def test_draws_of_one_text_are_one_whatever_their_case():
    some = draws("YES", "yes", "no", "No ", "yes, it is", "no, it is not")
    assert sorted((a.number, b.number) for a, b in pairs_of(some, PairChoice(most=4, length=0.5))) == [(0, 2), (4, 5)]


def test_traces_of_one_text_are_one():
    some = draws("yes, it is", "Yes,  it is", "no", "yes, since", "yes, it is")
    assert [draw.number for draw in traces_of(some, TraceChoice())] == [0, 3]
    assert [draw.number for draw in traces_of(some, TraceChoice(most=1))] == [0]


def test_a_document_of_a_test_set_is_never_learned_from(own_folders, tmp_path, capsys):
    train = pubmedqa_documents(6)
    leaked = Example("leak", train[3].inputs, "no")
    write_split(own_folders / "data", "pubmedqa", "test", [*pubmedqa_documents(3, start=100), leaked])
    run = made_run(tmp_path / "runs", [right, wrong])
    assert main(["pairs", str(run.path), "--output", str(tmp_path / "d" / "pairs.jsonl")]) == 0
    assert "whole or in a passage: 3 (= pubmedqa/leak)" in capsys.readouterr().err
    assert [line["id"] for line in lines(tmp_path / "d" / "pairs.jsonl")] == ["0", "1", "2", "4", "5"]
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["decontamination"]["hits"] == {"pubmedqa": {"hits": 1, "removed": 1}}


def test_text_under_an_agreement_is_for_its_owner_and_its_terms_are_handed_on(own_folders, tmp_path, capsys):
    examples = [
        Example(f"{n}", {"premise": f"Patient {n} is ill.", "hypothesis": f"Patient {n} is well."}, "contradiction")
        for n in range(3)
    ]
    write_split(own_folders / "data", "mednli", "train", examples)
    write_split(
        own_folders / "data", "mednli", "test", [Example("t", {"premise": "A.", "hypothesis": "B."}, "neutral")]
    )
    models = [Scripted(lambda _, said=said: said) for said in ("contradiction", "neutral")]
    run = drawn_run(tmp_path / "runs", models, tasks=["mednli"], split="train")
    file = tmp_path / "secret" / "pairs.jsonl"
    assert main(["pairs", str(run.path), "--output", str(file)]) == 0
    for path in (file, file.parent / "manifest.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "Patient" not in "".join(capsys.readouterr())
    (source,) = file_sources([file])
    assert source.access == "credentialed" and source.agreements == (mibe.load_task("mednli").access.agreement,)


def test_what_a_run_reads_and_the_reward_does_not_is_on_neither_side(tmp_path, capsys):
    """ "yes (maybe)" is yes to a run, which shows a figure to a reader; a policy would learn to hedge, or not to."""
    run = made_run(tmp_path / "runs", [right, wrong, lambda answer: f"{answer} (or {wrong(answer)})"])
    assert run.scores("pubmedqa")["accuracy"] == pytest.approx(2 / 3)
    file = tmp_path / "d" / "p.jsonl"
    assert main(["pairs", str(run.path), "--output", str(file), "--per-document", "3"]) == 0
    assert "on neither side: 6 draws that a run reads, and the reward does not" in capsys.readouterr().err
    assert [line["draws"] for line in lines(file)] == [[0, 1]] * 6


def test_what_the_model_learned_under_an_agreement_goes_with_its_answers(tmp_path):
    (tmp_path / "model").mkdir()
    notes = {"name": "notes", "access": "credentialed", "agreements": ["Ward agreement 7"], "weight": None, "tokens": 9}
    stages = [{"recipe": {}, "steps": 1, "sources": [notes, {**notes, "name": "open", "access": "open"}]}]
    (tmp_path / "model" / "training.json").write_text(json.dumps({"origin": "o", "stages": stages}))
    run = made_run(tmp_path / "runs", [right, wrong])
    file = tmp_path / "d" / "pairs.jsonl"
    assert main(["pairs", str(run.path), "--output", str(file), "--model", str(tmp_path / "model")]) == 0
    found = {source.name: source for source in file_sources([file])}
    assert set(found) == {"pubmedqa", "notes"}
    assert (found["notes"].access, found["notes"].agreements) == ("credentialed", ("Ward agreement 7",))
    # They may repeat it, and are for their owner alone; so is what comes into the same folder afterwards.
    manifest = file.parent / "manifest.json"
    assert json.loads(manifest.read_text())["private"] is True
    more = file.with_name("more.jsonl")
    assert main(["pairs", str(run.path), "--output", str(more)]) == 0
    for path in (file, more, manifest):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    apart = tmp_path / "apart" / "p.jsonl"
    assert main(["pairs", str(run.path), "--output", str(apart)]) == 0
    assert stat.S_IMODE(apart.stat().st_mode) == 0o644


def test_answers_of_a_model_of_unknown_data_are_private_while_they_are_drawn(tmp_path, monkeypatch):
    """Of the run's log as of the file."""
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    stages = [{"recipe": {}, "steps": 1, "sources": [{"name": "mine.jsonl", "access": "unknown", "agreements": []}]}]
    Path("model/training.json").write_text(json.dumps({"origin": "o", "stages": stages}))
    drawn = []

    def asked(task, model, arguments, **_):
        drawn.append(made_run(tmp_path / "runs", [right]))
        return drawn[0]

    monkeypatch.setattr("mellama_train.draws.drawing.draw", asked)
    command = ["traces", "--task", "pubmedqa", "--model", "hf", "--model-args", "pretrained=model"]
    assert main([*command, "--repeats", "1", "--output", "d/t.jsonl"]) == 0
    for path in (Path("d/t.jsonl"), drawn[0].samples_path("pubmedqa")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_its_manifest_does_not_tell_of_is_of_unknown_access(tmp_path, capsys):
    run = made_run(tmp_path / "runs", [right, wrong])
    file, other = tmp_path / "d" / "p.jsonl", tmp_path / "d" / "mine.jsonl"
    assert main(["pairs", str(run.path), "--output", str(file)]) == 0
    assert altered([file]) == [] and built_test_sets([file]).tasks == ("pubmedqa",)
    other.write_text(file.read_text())
    assert altered([file, other]) == [f"{other} is not as the manifest.json beside it says"]
    assert [source.access for source in file_sources([other])] == ["unknown"]
    file.write_text(file.read_text().replace("drug 0", "drug 9"))
    assert altered([file]) == [f"{file} is not as the manifest.json beside it says"]
    assert [(source.name, source.access) for source in file_sources([file])] == [("pubmedqa", "unknown")]
    assert built_test_sets([file]) is None
    # What is known to be under an agreement stays so.
    manifest = json.loads((file.parent / "manifest.json").read_text())
    manifest["sources"] = {"notes": {"access": "credentialed", "agreement": "Ward agreement 7"}}
    (file.parent / "manifest.json").write_text(json.dumps(manifest))
    (source,) = file_sources([file])
    assert (source.access, source.agreements) == ("credentialed", ("Ward agreement 7",))


@pytest.mark.parametrize("part", ["pretrained", "peft"])
def test_the_model_that_is_named_is_the_one_that_answered(tmp_path, capsys, part):
    """A run knows its model by the content of its folder, wherever that lies."""
    one, copied, other = (tmp_path / name for name in ("one", "copied", "other"))
    for folder in (one, copied, other):
        folder.mkdir()
        (folder / "config.json").write_text("{}" if folder != other else '{"other": 1}')
    model = InTurn([answering(each) for each in (right, wrong)])
    model.identity = {"model": "hf", part: source_identity(str(one), None)}
    asked = {"tasks": ["pubmedqa"], "split": "train", "repeats": 2, "use_cache": False, "resamples": 10}
    run = mibe.evaluate(model=model, output_dir=tmp_path / "runs", **asked)
    command = ["pairs", str(run.path), "--output", str(tmp_path / "d" / "p.jsonl"), "--model"]
    assert said(capsys, *command, tmp_path / "oen") == (
        f"--model: there is no folder {tmp_path / 'oen'}; give that of the model that was asked"
    )
    assert said(capsys, *command, other).startswith(f"--model: {other} is not the model that {run.path} was made with")
    assert not (tmp_path / "d").exists()
    assert main([*command, str(copied)]) == 0
    # What nobody names is not known, which is told.
    assert main(command[:-1]) == 0
    assert "what the model itself learned is not looked up; --model FOLDER" in capsys.readouterr().err


def said(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    own = "mellama-train: "
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(own)]
    return line.removeprefix(own)


def test_runs_that_no_pair_can_be_made_of_are_one_line(tmp_path, capsys):
    file = tmp_path / "d" / "pairs.jsonl"

    def refused(*answers, **settings):
        return said(capsys, "pairs", made_run(tmp_path / "runs", answers, **settings).path, "--output", file)

    on_test = drawn_run(tmp_path / "runs", [Scripted(lambda _: "yes"), Scripted(lambda _: "no")], tasks=["pubmedqa"])
    line = said(capsys, "pairs", on_test.path, "--output", file)
    assert line.startswith(f"{on_test.path} asked about the test split of pubmedqa") and "--split train" in line
    assert "of 6 documents 6 have a right draw and 0 a wrong one; draw more" in refused(right, right)
    assert "asked pubmedqa in several versions (--vary)" in said(
        capsys,
        "pairs",
        mibe.evaluate(
            model=Scripted(lambda _: "yes"),
            tasks=["pubmedqa"],
            split="train",
            vary="wording:2",
            output_dir=tmp_path / "runs",
            use_cache=False,
            resamples=10,
        ).path,
        "--output",
        file,
    )
    assert not file.exists()
    run = made_run(tmp_path / "runs", [right, wrong])
    assert "of like length (--match-length 0.5)" in said(
        capsys, "pairs", run.path, "--output", file, "--match-length", 0.5
    )
    assert "has no task 'medqa'" in said(capsys, "pairs", run.path, "--output", file, "--task", "medqa")
    for share in ("nan", "inf", "-1"):
        assert "--match-length" in said(capsys, "pairs", run.path, "--output", file, "--match-length", share)
    line = said(capsys, "pairs", run.path, "--output", file.with_name("manifest.json"))
    assert line.endswith("manifest.json is the name of the manifest beside the lines; give another, as draws.jsonl")
    assert "a right draw has the higher one" in said(capsys, "pairs", run.path, "--output", file, "--wrong", 1)
    (tmp_path / "mine.jsonl").write_text("kept\n")
    assert "was not written by this command" in said(capsys, "pairs", run.path, "--output", tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl").read_text() == "kept\n"


def test_a_run_that_lost_samples_is_refused(tmp_path, capsys):
    run = made_run(tmp_path / "runs", [right, wrong])
    log = run.samples_path("pubmedqa")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:5]))
    line = said(capsys, "pairs", run.path, "--output", tmp_path / "d" / "p.jsonl")
    assert line.startswith(f"{run.path} holds 5 samples of pubmedqa, and was finished with 12; run its command again")


class CutSecond(InTurn):
    """The second draw of each document ends at a limit."""

    def generate(self, requests):
        for index, response in super().generate(requests):
            is_cut = self._seen[requests[index].text] == 2
            yield index, replace(response, finish_reason="length" if is_cut else "stop")


def test_draws_that_met_a_limit_are_not_learned_from(tmp_path, capsys):
    model = CutSecond([answering(each) for each in (right, right, wrong)])
    asked = {"tasks": ["pubmedqa"], "split": "train", "repeats": 3, "use_cache": False, "resamples": 10}
    run = mibe.evaluate(model=model, output_dir=tmp_path / "runs", **asked)
    assert main(["pairs", str(run.path), "--output", str(tmp_path / "d" / "p.jsonl")]) == 0
    assert "6 draws that did not come to an end" in capsys.readouterr().err
    assert all(line["draws"] == [0, 2] for line in lines(tmp_path / "d" / "p.jsonl"))


def test_a_task_without_train_split_has_no_traces(own_folders, tmp_path, capsys):
    write_split(
        own_folders / "data", "mednli", "test", [Example("t", {"premise": "A.", "hypothesis": "B."}, "neutral")]
    )
    line = said(capsys, "traces", "--task", "mednli", "--model", "dummy", "--output", tmp_path / "t.jsonl")
    assert line.startswith("mednli has no train split here, only test;")


def test_traces_are_the_right_draws_of_a_real_model(own_folders, tmp_path, capsys, monkeypatch):
    """A GPT-2 that writes a reasoning and yes, asked twice: right on the two documents of six whose answer that is."""
    pytest.importorskip("transformers", reason="transformers comes with the extra hf")
    from chain_model import chain_model, chain_tokenizer

    monkeypatch.chdir(tmp_path)
    # Prompts of one length, behind which the model writes alike.
    alike = [replace(example, inputs={**example.inputs, "context": "A trial."}) for example in pubmedqa_documents(6)]
    write_split(own_folders / "data", "pubmedqa", "train", alike)
    template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    tokenizer = chain_tokenizer(template)
    prompts = {
        tokenizer.apply_chat_template(list(s.messages), tokenize=False, add_generation_prompt=True): right("yes")
        for s in mibe.training_samples(mibe.load_task("pubmedqa"))
    }
    window = max(len(tokenizer(prompt)["input_ids"]) for prompt in prompts) + 80
    chain_model(
        tokenizer, {prompt: text + "<|im_end|>" for prompt, text in prompts.items()}, window=window
    ).save_pretrained("model")
    tokenizer.save_pretrained("model")
    command = ["traces", "--task", "pubmedqa", "--model", "model", "--repeats", "2", "--output", "d/traces.jsonl"]
    asked = ["--temperature", "0.1", "--model-args", "dtype=float32", "--model-args", "device=cpu"]
    asked += ["--max-new-tokens", "64"]
    assert main([*command, *asked]) == 0
    found = lines(tmp_path / "d" / "traces.jsonl")
    assert "pubmedqa: 2 traces of 2 documents; of 6 asked 4 have none" in capsys.readouterr().err
    assert [line["id"] for line in found] == ["0", "3"]
    (sample, _) = read_samples(tmp_path / "d" / "traces.jsonl")
    assert sample.source == "pubmedqa" and sample.messages[-1] == {"role": "assistant", "content": right("yes")}
    # Given again, nothing is asked anew.
    before = (tmp_path / "d" / "traces.jsonl").read_bytes()
    assert main([*command, *asked]) == 0
    again = max((tmp_path / "runs").glob("*/samples/pubmedqa.jsonl"))
    assert [row["cached"] for row in lines(again)] == [True] * 12
    assert (tmp_path / "d" / "traces.jsonl").read_bytes() == before
    recipe = {"model": {"path": "model"}, "output": "run", "batch": {"rows": 1}, "data": {"files": ["d/traces.jsonl"]}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**recipe, "context": 1024, "precision": "fp32"}))
    assert main(["instruct", "r.yaml", "--dry-run"]) == 0
