"""Means over draws in the forms of other tools, named as such."""

import csv
import io
import json

import pytest
from drawn_runs import drawn_run
from scripted import Scripted

from mibe.interchange import export
from mibe.interchange.lm_eval import results


@pytest.fixture
def run(tmp_path):
    models = [Scripted(lambda _, word=word: word) for word in ("yes", "no", "yes")]
    return drawn_run(tmp_path, models, tasks="pubmedqa", limit=20)


def test_lm_eval_has_them_as_filters(run):
    utils = pytest.importorskip("lm_eval.utils")
    pytest.importorskip("pytablewriter")
    table = utils.make_table(json.loads(export(run, "lm-eval")))
    found = results(run)
    figures = found["results"]["mibe_pubmedqa"]
    repeats = run.record["tasks"]["pubmedqa"]["repeats"]["figures"]
    assert figures["accuracy,avg@3"] == run.scores("pubmedqa")["accuracy"]
    assert figures["accuracy,maj@3"] == repeats["accuracy_maj@3"]["value"]
    assert figures["accuracy_stderr,pass@2"] == repeats["accuracy_pass@2"]["stderr"]
    assert not any(key.endswith(",none") for key in figures)
    assert all(f"|{name}" in table for name in ("avg@3", "maj@3", "pass@3"))
    config = found["configs"]["mibe_pubmedqa"]
    assert config["repeats"] == 3 and config["metadata"]["draws"]["changed"] == 1
    assert found["n-samples"]["mibe_pubmedqa"]["effective"] == 20


def test_a_model_card_says_so(run):
    pytest.importorskip("huggingface_hub")
    block = export(run, "hf-eval-results")
    assert "accuracy_avg@3" in block and "draws: 3" in block and "documents: 20" in block


def test_tables_have_the_draw_of_every_sample_and_the_figures_of_all(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for samples in (False, True):
        export(run, "parquet", output=tmp_path / "run.parquet", samples=samples)
        rows = parquet.read_table(tmp_path / "run.parquet").to_pylist()
        lines = list(csv.DictReader(io.StringIO(export(run, "csv", samples=samples))))
        assert len(rows) == len(lines)
        if samples:
            assert [row["draw"] for row in rows] == [0, 1, 2] * 20
            assert len({(line["id"], line["draw"]) for line in lines}) == 60
        else:
            assert {line["draws"] for line in lines} == {"3"}
            assert {"accuracy", "accuracy_pass@3", "changed"} <= {row["metric"] for row in rows}
