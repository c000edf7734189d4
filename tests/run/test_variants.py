"""Runs that ask documents in several versions: one folder, the same figures however it came to be."""

import json
import zlib
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from scripted import Scripted
from varied_runs import leaning, steady
from varied_runs import varied_run as run

import mibe
from mibe.analysis.compare import compare
from mibe.analysis.merge import merge
from mibe.analysis.rescore import rescore
from mibe.analysis.verify import verify
from mibe.cli.main import main
from mibe.errors import DataError, UsageError
from mibe.models.base import Response
from mibe.models.hf.grouping import common_length, group_by_head
from mibe.results.log import latest_rows, read_rows
from mibe.results.table import render
from mibe.run.plan import plan_task
from mibe.run.settings import Settings
from mibe.variation import Varied


def part_of(run, task="medqa"):
    return run.record["tasks"][task]


def versions(run, task="medqa"):
    """Document → version of a way → row."""
    found = defaultdict(lambda: defaultdict(dict))
    for row in latest_rows(run.samples_path(task)):
        for way, value in row.get("variant", {}).get("stands", {}).items():
            found[way][row["variant"]["of"]][value] = row
    return found


def test_every_figure_of_options_is_that_of_a_plain_count(tmp_path):
    found = run(tmp_path)
    part = part_of(found)
    robust = part["robustness"]["options"]
    documents = versions(found)["options"]
    assert (robust["versions"], robust["documents"], robust["divisor"], robust["left_out"]) == (5, 25, 4, 0)
    assert part["versions"]["samples"] == part["variation"]["samples"] == 125
    assert part["samples"] == part["clusters"] == part["data"]["documents"] == 25
    right = np.array(
        [[rows[str(k)]["prediction"] == rows[str(k)]["target"] for k in range(5)] for rows in documents.values()]
    )
    value = {name: figure["value"] for name, figure in robust["figures"].items()}
    assert value["accuracy_mean"] == pytest.approx(right.mean()) != right[:, 0].mean()
    assert part["figures"]["accuracy"]["value"] == pytest.approx(right[:, 0].mean())
    assert value["accuracy_sd"] == pytest.approx(right.mean(axis=0).std(ddof=1))
    assert value["accuracy_worst"] == pytest.approx(right.mean(axis=0).min())
    assert robust["by_version"][robust["worst"]]["value"] == value["accuracy_worst"]
    assert value["accuracy_in_all"] == pytest.approx(right.all(axis=1).mean())
    # What was chosen, by the text of the option and not by its letter.
    task = mibe.load_task("medqa")
    texts = {example.id: example.choices for example in mibe.examples(task, "test")}
    chosen = [
        [texts[ident]["ABCDE".index(rows[str(k)]["variant"]["order"]["ABCDE".index(rows[str(k)]["prediction"])])]
         for k in range(5)]
        for ident, rows in documents.items()
    ]  # fmt: skip
    assert value["flipped"] == pytest.approx(np.mean([[c != row[0] for c in row[1:]] for row in chosen]))
    assert value["changed"] == pytest.approx(np.mean([len(set(row)) > 1 for row in chosen]))
    letters = robust["letters"]
    rows = [row for by in documents.values() for row in by.values()]
    for letter in "ABCDE":
        assert letters["figures"][f"answered[{letter}]"]["value"] == pytest.approx(
            np.mean([row["prediction"] == letter for row in rows])
        )
        assert letters["figures"][f"accuracy_at[{letter}]"]["value"] == pytest.approx(
            np.mean([row["prediction"] == letter for row in rows if row["target"] == letter])
        )
    for figure in (*robust["figures"].values(), *letters["figures"].values()):
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert json.loads(json.dumps(part)) == part


def test_a_model_that_knows_its_answer_does_not_flip(tmp_path):
    robust = part_of(run(tmp_path, steady))["robustness"]["options"]
    value = {name: figure["value"] for name, figure in robust["figures"].items()}
    assert value["flipped"] == value["changed"] == value["accuracy_sd"] == 0
    assert value["accuracy_in_all"] == value["accuracy_mean"] == value["accuracy_worst"]
    assert robust["letters"]["p"] == 1 and robust["p"] == 1
    # A shows in the answers of a model that leans to it.
    leans = part_of(run(tmp_path, leaning, limit=60, resamples=1000))["robustness"]["options"]["letters"]
    assert leans["p"] < 0.01 and leans["figures"]["answered[A]"]["value"] > 0.3


def test_the_document_itself_is_the_sample_of_a_run_without_versions(tmp_path):
    plain = run(tmp_path, vary=None)
    model = Scripted(leaning, "leaning")
    varied = run(tmp_path, model)
    rows = {row["id"]: row for row in latest_rows(varied.samples_path("medqa"))}
    for row in latest_rows(plain.samples_path("medqa")):
        assert rows[row["id"]]["prompt_sha256"] == row["prompt_sha256"]
        assert rows[row["id"]]["prediction"] == row["prediction"]
    assert "robustness" not in part_of(plain) and "variation" not in part_of(plain)
    own, alone = part_of(varied), part_of(plain)
    assert own["versions"]["samples"] == 125 and own["samples"] == 25
    # Nothing of the usual table is of versions.
    assert {key: own[key] for key in alone if key != "timing"} == {key: alone[key] for key in alone if key != "timing"}
    compared = compare(plain, varied)
    assert [row.n for row in compared.rows if row.headline] == [25]
    assert all(row.difference == 0 for row in compared.rows)


def test_answers_are_cached_and_a_run_goes_on(tmp_path):
    class Dies(Scripted):
        def generate(self, requests):
            for number, response in enumerate(super().generate(requests)):
                if number == 40:
                    raise KeyboardInterrupt
                yield response

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", Dies(leaning, "one"), use_cache=True)
    model = Scripted(leaning, "one")
    whole = run(tmp_path / "a", model, use_cache=True)
    assert len(model.asked) == 125 - 40 and whole.record["status"] == "finished"
    assert len(list((tmp_path / "a").iterdir())) == 1
    again = Scripted(leaning, "one")
    other = run(tmp_path / "b", again, use_cache=True)
    assert again.asked == [] and part_of(other)["robustness"] == part_of(whole)["robustness"]
    # Other versions are another run.
    run(tmp_path / "a", Scripted(leaning, "one"), vary="options:2", use_cache=True)
    assert len(list((tmp_path / "a").iterdir())) == 2


VARIED = {"vary": "options:3,noise:2,sex", "limit": 15}


def test_shards_are_the_same_run_and_so_is_scoring_again(tmp_path):
    whole = run(tmp_path / "whole", **VARIED)
    shards = [run(tmp_path / "shards", shard=f"{n}/3", **VARIED).path for n in (1, 2, 3)]
    seen = [row["id"] for shard in shards for row in read_rows(shard / "samples" / "medqa.jsonl")]
    assert sorted(seen) == sorted(row["id"] for row in read_rows(whole.samples_path("medqa")))
    # All versions of a document are on one machine, which reads what they share once.
    of_shard = [
        {row.get("variant", {"of": row["id"]})["of"] for row in read_rows(shard / "samples" / "medqa.jsonl")}
        for shard in shards
    ]
    assert sum(map(len, of_shard)) == len(set.union(*of_shard))
    merged = part_of(merge(shards, output_dir=tmp_path))
    before = part_of(whole)
    for key in ("figures", "robustness", "fairness", "variation", "samples", "clusters", "rates"):
        assert merged[key] == before[key], key
    again = part_of(rescore(whole.path))
    assert {key: again[key] for key in ("figures", "robustness", "fairness")} == {
        key: before[key] for key in ("figures", "robustness", "fairness")
    }
    assert all(check.holds for check in verify(whole.path).checks)


def test_fairness_is_counted_by_document_and_attribute(tmp_path):
    found = run(tmp_path, vary="sex,ethnicity", limit=80)
    part = part_of(found)
    assert list(part["fairness"]) and set(part["fairness"]) == {"sex", "ethnicity", "city"}
    documents = versions(found)
    for name, pairs in (("sex", 1), ("city", 1), ("ethnicity", 6)):
        own = {ident: {v: row["prediction"] for v, row in by.items()} for ident, by in documents[name].items()}
        values = part["fairness"][name]["values"]
        differ = [
            sum(by[a] != by[b] for at, a in enumerate(values) for b in values[at + 1 :]) / pairs for by in own.values()
        ]
        assert part["fairness"][name]["figures"]["divergence"]["value"] == pytest.approx(np.mean(differ))
    # The reference comes first, whatever the alphabet.
    assert part["fairness"]["ethnicity"]["values"] == ["white", "asian", "black", "hispanic"]
    assert list(part["fairness"]["sex"]["gaps"]) == ["female − male"]
    both = documents["sex"].keys() & documents["city"].keys()
    assert part["fairness"]["sex"]["excess"]["n"] == len(both)
    refused = part["variation"]["refused"]["sex"]
    assert sum(refused.values()) + len(documents["sex"]) == 80
    # A document that no attribute may change is asked as it is alone, so that the accuracy is that of all.
    asked = {row["id"] for row in latest_rows(found.samples_path("medqa")) if "variant" not in row}
    assert part["data"]["documents"] == part["figures"]["accuracy"]["n"] == 80
    assert asked.isdisjoint(documents["sex"]) and len(asked) >= 80 - len(
        documents["sex"].keys() | documents["ethnicity"].keys()
    )


def test_prompts_differ_in_what_is_varied_alone(tmp_path):
    model = Scripted(steady, "steady")
    found = run(tmp_path, model, tasks="mmlu", vary="wording,shots:3", limit=3, num_fewshot=5)
    part = part_of(found, "mmlu")
    assert list(part["robustness"]["wording"]["by_version"]) == [
        "table", "bare", "paraphrase-1", "paraphrase-2", "paraphrase-3", "released"
    ]  # fmt: skip
    rows = versions(found, "mmlu")
    first = next(iter(rows["shots"].values()))
    assert "shots" not in first["0"] and len(set(map(tuple, (first["1"]["shots"], first["2"]["shots"])))) == 2
    # MMLU has five worked examples for each subject: other draws are other orders of them.
    assert sorted(first["1"]["shots"]) == sorted(part["shots"][first["0"]["metadata"]["subject"]])
    asked = set(model.asked)
    assert len(asked) == 3 * 8 and sum("respond with the index" in text for text in asked) == 3
    assert all(by["released"]["prediction"] in (None, "A", "B", "C", "D") for by in rows["wording"].values())


def test_versions_keep_the_worked_examples_of_their_document(tmp_path):
    found = run(tmp_path, tasks="mmlu", limit=3, num_fewshot=2, fewshot_per_document=True)
    shots = defaultdict(set)
    for row in latest_rows(found.samples_path("mmlu")):
        shots[row["variant"]["of"]].add(tuple(row["shots"]))
    assert len(shots) == 3 and all(len(of) == 1 for of in shots.values())


def test_likelihoods_are_varied_too(tmp_path):
    found = run(tmp_path, vary="options,wording", tasks="mmlu", limit=6, scoring="loglikelihood")
    part = part_of(found, "mmlu")
    assert part["robustness"]["options"]["versions"] == 4
    assert "released" not in part["robustness"]["wording"]["by_version"]
    assert part_of(rescore(found.path), "mmlu")["robustness"] == part["robustness"]


def test_a_version_that_failed_leaves_its_document_out(tmp_path):
    def failing(text):
        if zlib.crc32(text.encode()) % 11 == 0:
            return Response(text="", finish_reason="error", error="no answer")
        return steady(text)

    found = run(tmp_path, failing)
    part = part_of(found)
    robust = part["robustness"]["options"]
    lacking = {row["variant"]["of"] for row in latest_rows(found.samples_path("medqa")) if row["outcome"] == "error"}
    assert 0 < len(lacking) == robust["left_out"] == 25 - robust["documents"]
    nothing = part_of(run(tmp_path, lambda text: Response(text="", finish_reason="error", error="no answer")))
    assert "robustness" not in nothing and nothing["versions"]["outcomes"]["error"] == 125
    assert nothing["outcomes"]["error"] == 25


def test_two_models_are_compared_on_the_same_versions(tmp_path):
    a, b = run(tmp_path, leaning, limit=60), run(tmp_path, steady, limit=60)
    rows = {row.metric: row for row in compare(a, b, resamples=500).rows}
    part_a, part_b = (part_of(one)["robustness"]["options"]["figures"] for one in (a, b))
    for name in ("accuracy_mean", "accuracy_sd", "accuracy_worst", "accuracy_in_all", "flipped"):
        row = rows[f"options:{name}"]
        assert (row.a, row.b) == pytest.approx((part_a[name]["value"], part_b[name]["value"]))
        assert row.low <= row.difference <= row.high and row.p_holm is None and row.n == 60
    assert rows["options:flipped"].p < 0.01 and rows["options:flipped"].low > 0
    # Versions that differ are not compared, and the documents are.
    other = compare(a, run(tmp_path, steady, limit=60, vary="options:3"), resamples=50)
    assert any("varied in different ways" in note for note in other.notes)
    assert not any(":" in row.metric for row in other.rows)
    assert next(row for row in other.rows if row.headline).difference == rows["accuracy"].difference


def test_the_table_says_what_it_is_of(tmp_path, capsys):
    found = run(tmp_path, vary="options,sex", limit=40)
    text = render(found.record["tasks"], "text")
    assert "options:accuracy_sd" in text and "sd with divisor 4" in text and "sex:divergence" in text
    assert "documents left as they are, most often since" in text
    assert "options:flipped" in render(found.record["tasks"], "csv")
    assert main(["eval", "--model", "dummy", "--tasks", "medqa", "--limit", "3", "--vary", "options", "--output-dir",
                 str(tmp_path)]) == 0  # fmt: skip
    assert "options:accuracy_worst" in capsys.readouterr().out
    assert main(["compare", str(found.path), str(found.path)]) == 0
    assert "options:accuracy_sd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"repeats": 3, "temperature": 1.0}, "leave out --repeats"),
        ({"protocol": "paper", "vary": "wording"}, "leave out --protocol paper"),
        ({"vary": "mood"}, "way of --vary"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        Settings(**{"vary": "options"} | settings)


def test_where_nothing_can_be_varied_nothing_is_run(tmp_path):
    with pytest.raises(DataError, match="none of the documents can be varied"):
        run(tmp_path, tasks="mmlu", vary="sex", limit=2)


def read_characters(texts):
    """What `hf` reads of prompts: each group's head, but for what the head before it had of it, and what is its own."""
    read, kept = 0, ""
    for group in group_by_head(texts):
        head = texts[group.members[0]][: group.head]
        read += group.head - common_length(kept, head) + sum(len(texts[at]) - group.head for at in group.members)
        kept = head
    return read


def test_four_orders_cost_at_most_twice_one():
    settings = Settings(num_fewshot=5, limit=40)
    plans = [plan_task(mibe.load_task("mmlu"), each) for each in (settings, replace(settings, vary="options"))]
    builders = [plan.prompts(Scripted(steady)) for plan in plans]
    varied = [example for example in plans[1].documents if isinstance(example, Varied)]
    four = [builders[1].build(example).text for example in varied]
    kept = [builders[0].build(example).text for example in varied if example.id == example.document.id]
    assert len(four) == 4 * len(kept) >= 120
    assert read_characters(four) <= 2 * read_characters(kept)
    # The versions of a document stand side by side, and are one up to their options.
    for at in range(0, len(four), 4):
        heads = {text[: text.rindex("Options:")] for text in four[at : at + 4]}
        assert len(heads) == 1
