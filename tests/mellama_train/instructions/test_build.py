"""Builds of the instruction set: what is drawn, removed and counted, who may read it, what an interruption leaves."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("xxhash", reason="xxhash comes with the extra train")
pytest.importorskip("datatrove", reason="datatrove comes with the extra train")

import instruction_files as made

import mibe
from mellama_train import cli
from mellama_train.errors import DataError, RecipeError
from mellama_train.instructions import build as build_module
from mellama_train.instructions import sources as sources_module
from mellama_train.instructions.build import build, read_manifest
from mellama_train.instructions.config import Files, InstructionsConfig
from mellama_train.instructions.drawing import Draw, key_of
from mellama_train.instructions.items import Item
from mellama_train.instructions.summary import not_drawn, table
from mellama_train.recipe.yaml_schema import parse
from mellama_train.rows.samples import encode, read_samples

ROOT = Path(__file__).resolve().parents[3]


def qa(number):
    """A question with its answer, unlike any other."""
    words = hashlib.sha256(str(number).encode()).hexdigest()
    return {"question": f"What of {words[:9]} and {words[9:18]} in case {number}?", "answer": f"It is {words[18:30]}."}


def config(tmp_path, sources, **settings):
    settings = {"decontaminate": "off", **settings}
    return InstructionsConfig(output=tmp_path / "out", sources=sources, **settings)


def lines(folder, name="train.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# The draw.


def drawn(tmp_path, numbers, cap, seed=1):
    draw = Draw(tmp_path / "draw", cap)
    for number in numbers:
        item = Item(str(number), {"input": f"question {number}"}, "answer")
        key = key_of(item, seed)
        if draw.wants(key) and not draw.has(key):
            draw.add(key, item)
    found = [int(item.id) for _, item in draw.drawn()]
    draw.close()
    return found


def test_a_draw_is_the_same_for_any_order_of_the_stream_and_differs_by_seed(tmp_path):
    forward = drawn(tmp_path, range(1000), 50)
    assert len(forward) == 50 and forward != sorted(forward)
    assert drawn(tmp_path, reversed(range(1000)), 50) == forward
    assert drawn(tmp_path, range(1000), 50, seed=2) != forward
    assert sorted(drawn(tmp_path, range(30), 50)) == sorted(drawn(tmp_path, range(30), None)) == list(range(30))


def test_what_cannot_be_drawn_any_more_is_not_wanted(tmp_path):
    draw = Draw(tmp_path / "draw", 2)
    for key in (5, 9, 3):
        assert draw.wants(key)
        draw.add(key, Item(str(key), {}, "answer"))
    assert (draw.has(5), draw.has(9), draw.wants(4), draw.wants(6), len(draw)) == (True, False, True, False, 2)
    draw.close()


def test_a_draw_is_uniform(tmp_path):
    hits = Counter(n // 100 for seed in range(60) for n in drawn(tmp_path, range(1000), 50, seed))
    # 3,000 draws over ten tenths: 300 each, six standard deviations about it.
    assert all(200 < hits[tenth] < 400 for tenth in range(10))


def test_a_draw_holds_keys_alone_in_memory(tmp_path):
    def stream(count):
        tracemalloc.start()
        draw = Draw(tmp_path / "draw", 100)
        for number in range(count):
            item = Item(str(number), {"input": f"{number} " * 500}, "answer")
            key = key_of(item, 0)
            if draw.wants(key):
                draw.add(key, item)
        draw.close()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    # 100 drawn items alone would be 250 kB.
    assert stream(4000) < 150_000


# What is kept.


def test_the_set_is_written_in_the_form_that_training_reads(tmp_path):
    from corpus_tools import write_tokenizer
    from transformers import PreTrainedTokenizerFast

    turns = [("human", "Hi"), ("gpt", "Hello"), ("human", "Bye"), ("gpt", "Bye!")]
    talk = {"id": "t", "conversations": [{"from": speaker, "value": value} for speaker, value in turns]}
    build(
        config(
            tmp_path,
            {
                "guideline_qa": made.write_lines(tmp_path / "g.jsonl", [qa(1), qa(2)]),
                "sharegpt": made.write_json(tmp_path / "s.json", [talk]),
            },
        )
    )
    samples = {s.source: s for s in read_samples(tmp_path / "out" / "train.jsonl")}
    assert [m["role"] for m in samples["sharegpt"].messages] == ["user", "assistant"] * 2
    assert samples["sharegpt"].messages[0]["content"].endswith("the request.\nINPUT: Hi\nOUTPUT:")
    assert samples["sharegpt"].messages[2]["content"] == "Bye"
    folder = write_tokenizer(tmp_path / "tokenizer")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<eos>")
    encoded = encode(samples["sharegpt"], tokenizer, "plain")
    learned = [token for token, is_learned in zip(encoded.tokens, encoded.learned, strict=True) if is_learned]
    assert tokenizer.decode(learned) == " Hello<eos> Bye!<eos>"
    lone = samples["guideline_qa"].messages
    assert lone[0]["content"] == (
        "If you are a medical professional, answer this question truthfully.\nINPUT: "
        f"{next(q['question'] for q in (qa(1), qa(2)) if q['answer'] == lone[1]['content'])}\nOUTPUT:"
    )


def test_a_build_is_reproduced_bit_for_bit_and_another_seed_draws_others(tmp_path):
    path = made.write_lines(tmp_path / "g.jsonl", map(qa, range(300)))
    turned = made.write_lines(tmp_path / "turned.jsonl", map(qa, reversed(range(300))))
    sources = {"guideline_qa": Files(path=path, cap=40)}
    first = build(config(tmp_path / "a", sources))
    assert build(config(tmp_path / "b", sources))["files"] == first["files"]
    other = build(config(tmp_path / "c", sources, seed=5))
    assert other["files"]["train.jsonl"]["samples"] == 40 and other["files"] != first["files"]
    build(config(tmp_path / "d", {"guideline_qa": Files(path=turned, cap=40)}))
    assert [s["prompt"] for s in lines(tmp_path / "d/out")] == [s["prompt"] for s in lines(tmp_path / "a/out")]
    counts = first["sources"]["guideline_qa"]["counts"]
    assert (counts["read"], counts["kept"], not_drawn(counts)) == (300, 40, 260)


def test_a_row_is_cut_to_the_number_that_the_paper_prints(tmp_path, monkeypatch):
    row = replace(sources_module.GENERAL, size=20)
    patched = {
        n: replace(s, row=row) if s.row is sources_module.GENERAL else s for n, s in sources_module.SOURCES.items()
    }
    for module in ("making", "build", "config"):
        monkeypatch.setattr(f"mellama_train.instructions.{module}.SOURCES", patched)
    monkeypatch.setattr("mellama_train.instructions.making.ROWS", (row,))
    rows = [qa(n) for n in range(200)]
    alpaca = [{"instruction": r["question"], "output": r["answer"]} for r in rows[:100]]
    dolly = [{"instruction": r["question"], "context": "", "response": r["answer"]} for r in rows[100:]]
    manifest = build(
        config(
            tmp_path,
            {
                "alpaca": made.write_json(tmp_path / "a.json", alpaca),
                "dolly": made.write_lines(tmp_path / "d.jsonl", dolly),
            },
        )
    )
    kept = {name: about["counts"]["kept"] for name, about in manifest["sources"].items()}
    # Both together, each according to its size.
    assert sum(kept.values()) == 20 and min(kept.values()) >= 4


def test_nulls_copies_and_near_copies_are_removed_and_counted(tmp_path):
    long = " ".join(f"word{n}" for n in range(60))
    rows = [
        {"question": f"Question? {long}", "answer": "Answer one."},
        {"question": f"QUESTION?   {long.upper()}", "answer": "answer one."},
        {"question": f"Question? {long} and more", "answer": "Answer one."},
        {"question": "", "answer": "nothing was asked"},
        {"question": "Nothing was said?", "answer": None},
        qa(1),
    ]
    path = made.write_lines(tmp_path / "g.jsonl", rows)
    counts = build(config(tmp_path / "near", {"guideline_qa": path}))["sources"]["guideline_qa"]["counts"]
    assert counts == {"read": 6, "null": 2, "duplicates": 1, "near copies": 1, "kept": 2, "held out": 0}
    exact = build(config(tmp_path / "exact", {"guideline_qa": path}, deduplicate="exact"))
    assert exact["sources"]["guideline_qa"]["counts"]["kept"] == 3


def test_copies_in_two_sources_are_one_sample(tmp_path):
    path = made.write_lines(tmp_path / "g.jsonl", [qa(1), qa(2)])
    more = made.write_lines(tmp_path / "m.jsonl", [qa(1), qa(2), qa(3)])
    manifest = build(config(tmp_path, {"guideline_qa": path, "medquad": more}))
    assert manifest["files"]["train.jsonl"]["samples"] == 3
    total = Counter()
    for about in manifest["sources"].values():
        total.update({what: about["counts"].get(what, 0) for what in ("kept", "duplicates")})
    assert total == {"kept": 3, "duplicates": 2}


def test_near_copies_leave_the_cap_met(tmp_path):
    long = " ".join(f"word{n}" for n in range(60))
    rows = [*map(qa, range(100)), *({"question": f"{long} {n}", "answer": long} for n in range(3))]
    path = made.write_lines(tmp_path / "g.jsonl", rows)
    counts = build(config(tmp_path, {"guideline_qa": Files(path=path, cap=101)}))["sources"]["guideline_qa"]["counts"]
    assert (counts["kept"], counts["near copies"]) == (101, 2)


def test_held_out_samples_are_in_no_other_file(tmp_path):
    path = made.write_lines(tmp_path / "g.jsonl", map(qa, range(1000)))
    manifest = build(config(tmp_path, {"medquad": path}, held_out=0.1))
    train, held_out = (lines(tmp_path / "out", name) for name in ("train.jsonl", "held_out.jsonl"))
    assert 60 < len(held_out) < 140 and len(train) + len(held_out) == 1000
    assert {s["id"] for s in train}.isdisjoint(s["id"] for s in held_out)
    assert manifest["sources"]["medquad"]["counts"]["held out"] == len(held_out)


def test_test_questions_are_removed_and_reported(tmp_path):
    example = next(iter(mibe.examples(mibe.load_task("medqa"), "test")))
    planted = {"question": "  ".join(example.inputs["question"].upper().split(" ")), "answer": "Planted."}
    path = made.write_lines(tmp_path / "g.jsonl", [qa(1), planted])
    manifest = build(
        InstructionsConfig(
            output=tmp_path / "out",
            sources={"guideline_qa": path},
            decontaminate=replace(
                InstructionsConfig(output=tmp_path, sources={"dolly": path}).decontaminate, tasks=("medqa",)
            ),
        )
    )
    assert [s["response"] for s in lines(tmp_path / "out")] == [qa(1)["answer"]]
    assert manifest["sources"]["guideline_qa"]["counts"]["contaminated"] == 1
    (hit,) = [h for h in lines(tmp_path / "out", "decontamination.jsonl") if h["removed"]]
    assert (hit["task"], hit["example"], hit["document"]) == ("medqa", example.id, "g.jsonl:2")


def test_the_test_half_of_pubmedqa_gives_no_titles(tmp_path, shared):
    settings = InstructionsConfig(output=tmp_path, sources={"dolly": tmp_path}).decontaminate
    manifest = build(
        InstructionsConfig(
            output=tmp_path / "out",
            sources={"titles": shared / "data/pubmedqa/ori_pqal.json"},
            decontaminate=replace(settings, tasks=("pubmedqa",)),
        )
    )
    tested = {e.id for e in mibe.examples(mibe.load_task("pubmedqa"), "test")}
    kept = {s["id"].removeprefix("pmid:") for s in lines(tmp_path / "out")}
    assert len(kept) == 500 and kept.isdisjoint(tested)
    assert manifest["sources"]["titles"]["counts"]["contaminated"] == 500


# Who may read it.


def test_credentialed_text_is_for_its_user_alone(tmp_path):
    folder = made.write_mimic3(tmp_path / "mimic")
    (tmp_path / "out").mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        manifest = build(config(tmp_path, {"mimic_mortality": folder, "mimic_disease_qa": folder}))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert mode(tmp_path / "out") == 0o700
    assert {path.name: mode(path) for path in (tmp_path / "out").iterdir()} == dict.fromkeys(
        ("train.jsonl", "manifest.json", "decontamination.jsonl", ".lock"), 0o600
    )
    about = manifest["sources"]["mimic_mortality"]
    assert (about["access"], about["counts"]["kept"]) == ("credentialed", 3)
    assert about["agreement"].startswith("PhysioNet") and manifest["private"]
    assert "admitted with chest pain" not in json.dumps(manifest)
    notes = next(f for f in about["files"] if "NOTEEVENTS" in f["path"])
    assert notes["sha256"] == hashlib.sha256((folder / "NOTEEVENTS.csv.gz").read_bytes()).hexdigest()


def test_open_text_keeps_the_users_own_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        build(config(tmp_path, {"guideline_qa": made.write_lines(tmp_path / "g.jsonl", [qa(1)])}))
    finally:
        os.umask(before)
    assert mode(tmp_path / "out") == 0o755 and mode(tmp_path / "out/train.jsonl") == 0o644


# Interruptions and bad input.


def test_the_manifest_holds_the_hash_of_what_was_written(tmp_path):
    build(config(tmp_path, {"guideline_qa": made.write_lines(tmp_path / "g.jsonl", [qa(1)])}))
    data = (tmp_path / "out/train.jsonl").read_bytes()
    about = read_manifest(tmp_path / "out")["files"]["train.jsonl"]
    assert about == {"samples": 1, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / "out/train.jsonl").write_bytes(data[:-9])
    with pytest.raises(DataError, match=r"train.jsonl is not the file that was built .* build it again: --force"):
        read_manifest(tmp_path / "out")


def test_a_killed_build_leaves_nothing_that_passes_as_whole(tmp_path):
    path = made.write_lines(tmp_path / "g.jsonl", map(qa, range(50)))
    recipe = tmp_path / "i.yaml"
    recipe.write_text(f"output: {tmp_path}/out\ndecontaminate: off\nsources:\n  guideline_qa: {path}\n")
    dying = (
        "import os, sys\nfrom mellama_train import cli\nfrom mellama_train.instructions import build\n"
        "whole, count = build.sample_line, iter(range(99))\n"
        "build.sample_line = lambda *a: os.kill(os.getpid(), 9) if next(count) == 20 else whole(*a)\n"
        f"cli.main(['instructions', 'build', {str(recipe)!r}])"
    )
    assert subprocess.run([sys.executable, "-c", dying], cwd=ROOT, check=False).returncode == -9
    assert {p.name for p in (tmp_path / "out").iterdir()} == {".lock", "work"}
    with pytest.raises(DataError, match="holds no finished set"):
        read_manifest(tmp_path / "out")
    assert cli.main(["instructions", "build", str(recipe)]) == 0
    assert len(lines(tmp_path / "out")) == 50 and not (tmp_path / "out/work").exists()


def test_a_full_disk_leaves_the_last_good_set(tmp_path, monkeypatch):
    path = made.write_lines(tmp_path / "g.jsonl", map(qa, range(5)))
    build(config(tmp_path, {"guideline_qa": path}))
    good = (tmp_path / "out/train.jsonl").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device", "work/train.jsonl")

    monkeypatch.setattr(build_module, "sample_line", full)
    with pytest.raises(DataError, match="cannot go on: No space left on device: work/train.jsonl"):
        build(config(tmp_path, {"guideline_qa": path}, seed=9), force=True)
    assert (tmp_path / "out/train.jsonl").read_bytes() == good
    assert read_manifest(tmp_path / "out")["recipe"]["seed"] == 1234


def test_another_recipe_does_not_replace_a_set_unasked(tmp_path):
    path = made.write_lines(tmp_path / "g.jsonl", map(qa, range(50)))
    first = build(config(tmp_path, {"guideline_qa": path}, held_out=0.2))
    assert build(config(tmp_path, {"guideline_qa": path}, held_out=0.2)) == first
    with pytest.raises(DataError, match="holds a set of another recipe.*--force"):
        build(config(tmp_path, {"guideline_qa": path}, seed=9))
    build(config(tmp_path, {"guideline_qa": path}, seed=9), force=True)
    assert not (tmp_path / "out/held_out.jsonl").exists()
    made.write_lines(path, map(qa, range(51)))
    with pytest.raises(DataError, match="of other files"):
        build(config(tmp_path, {"guideline_qa": path}, seed=9))


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(
        DataError, match=r"dolly: no file at .*nowhere.jsonl; get it from https://huggingface.co/.*dolly"
    ):
        build(config(tmp_path, {"dolly": tmp_path / "nowhere.jsonl"}))
    assert not (tmp_path / "out").exists()


def test_an_empty_source_says_what_was_in_it(tmp_path):
    path = made.write_lines(tmp_path / "g.jsonl", [{"question": "", "answer": "a"}])
    with pytest.raises(DataError, match="the source guideline_qa is empty: 1 read, 1 null"):
        build(config(tmp_path, {"guideline_qa": path}))
    assert not (tmp_path / "out/train.jsonl").exists()


def test_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match="cannot go on: File exists"):
        build(config(tmp_path, {"guideline_qa": made.write_lines(tmp_path / "g.jsonl", [qa(1)])}))


def test_two_builds_at_once(tmp_path):
    sources = {"guideline_qa": made.write_lines(tmp_path / "g.jsonl", [qa(1)])}
    with (
        build_module._alone(tmp_path / "out", False),
        pytest.raises(DataError, match="another build is at work"),
    ):
        build(config(tmp_path, sources))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: o\nsources:\n  dolli: a\n", r"i.yaml:2: sources: unknown source 'dolli'; did you mean dolly"),
        ("output: o\nsources: {}\n", r"i.yaml:2: sources: is empty; known: alpaca"),
        ("output: o\nsources:\n  dolly: {path: a, cap: 0}\n", r"i.yaml:3: cap: must be at least 1"),
        ("output: o\nseeds: 1\nsources: {dolly: a}\n", r"i.yaml:2: unknown key 'seeds'.*did you mean seed"),
        ("output: o\nheld_out: 2\nsources: {dolly: a}\n", r"i.yaml:2: held_out: is a share"),
        ("output: o\nsources:\n  dolly: {cap: 3}\n", r"i.yaml:3: sources.dolly lacks path"),
    ],
)
def test_mistakes_in_the_file_have_their_line(text, message):
    with pytest.raises(RecipeError, match=message):
        parse(text, InstructionsConfig, "i.yaml")


# The command line.


def test_the_table_stands_beside_the_papers_numbers(tmp_path, capsys):
    build(config(tmp_path, {"guideline_qa": made.write_lines(tmp_path / "g.jsonl", [qa(1), qa(2)])}))
    assert cli.main(["instructions", "show", str(tmp_path / "out"), "--format", "markdown"]) == 0
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    by_name = {cells[0]: cells for cells in shown}
    assert by_name["GuidelineQA"][1] == "2,000" and by_name["GuidelineQA"][8] == "2"
    assert by_name["· guideline_qa"][2:] == ["2", "0", "0", "0", "0", "0", "2", "open"]
    assert by_name["LiveQA"][1] == "634" and by_name["LiveQA"][8] == "not given"
    assert by_name["sum"][1] == "219,484" and by_name["sum"][8] == "2"
    assert by_name["without nulls"][1] == "214,595"
    assert cli.main(["instructions", "show", str(tmp_path / "out"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_manifest(tmp_path / "out")


def test_the_sources_are_listed(capsys):
    assert cli.main(["instructions", "sources"]) == 0
    shown = capsys.readouterr().out
    assert all(source.name in shown and source.home in shown for source in sources_module.SOURCES.values())


def test_an_error_is_one_line(tmp_path, capsys):
    recipe = tmp_path / "i.yaml"
    recipe.write_text("output: o\nsources: {dolly: nowhere}\n")
    assert cli.main(["instructions", "build", str(recipe)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom mellama_train.cli import parser\nparser().format_help()\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "datatrove", "openpyxl", "yaml"} & set(loaded)
    assert "mellama_train.commands.instructions" in loaded


@pytest.mark.slow
def test_the_open_set_is_built_from_the_open_sources(tmp_path, shared, monkeypatch):
    recipe = ROOT / "examples/instructions-open.yaml"
    text = recipe.read_text()
    monkeypatch.setenv("DEMO_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    assert cli.main(["instructions", "build", str(recipe)]) == 0
    manifest = read_manifest(tmp_path / "instructions")
    assert {name: about["counts"]["kept"] for name, about in manifest["sources"].items()} == dict.fromkeys(
        parse(text, InstructionsConfig, "demo").sources, 80
    )
    samples = [s for name in ("train.jsonl", "held_out.jsonl") for s in read_samples(tmp_path / "instructions" / name)]
    assert Counter(s.source for s in samples) == dict.fromkeys(manifest["sources"], 80)
    assert "LiveQA" in table(manifest, "text")


def test_the_papers_recipe_names_every_source_of_the_paper(monkeypatch):
    for name in ("INSTRUCTIONS_DIR", "PMC_DIR", "PUBMED_DIR", "MIMIC3_DIR", "MIMIC4_DIR"):
        monkeypatch.setenv(name, "/data")
    text = (ROOT / "recipes/instructions-paper.yaml").read_text()
    papers = {s.name for s in sources_module.SOURCES.values() if s.row.size is not None and s.prompt.name}
    assert set(parse(text, InstructionsConfig, "paper").sources) == papers
