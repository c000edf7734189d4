"""From raw files over a corpus to a pretrained model, by the commands; and what is refused on the way."""

import json

import pytest
import yaml

pytest.importorskip("datatrove", reason="datatrove comes with the extra train")
pytest.importorskip("backports.zstd", reason="backports.zstd comes with the extra train")

from corpus_tools import write_jsonl, write_tokenizer
from training_parts import recipe_text
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from mellama_train.cli import main

CORPUS = """\
output: {base}/corpus
tokenizer: {{path: {base}/model}}
length: 64
held_out: 0.1
decontaminate: "off"
sources:
  medical: {{weight: 3, max_epochs: 9, inputs: [{{format: jsonl, path: {base}/medical}}]}}
  general: {{weight: 1, max_epochs: 9, inputs: [{{format: jsonl, path: {base}/general}}]}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model and a corpus of two sources."""
    folder = tmp_path_factory.mktemp("base")
    write_tokenizer(folder / "model")
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=512, max_position_embeddings=128, **shape)).save_pretrained(
        folder / "model"
    )
    for topic in ("medical", "general"):
        texts = [
            f"The {topic} patient number {n} was given {' '.join(f'{topic}{n}{k}' for k in range(20))}."
            for n in range(60)
        ]
        write_jsonl(folder / topic / "part.jsonl", texts)
    (folder / "corpus.yaml").write_text(CORPUS.format(base=folder))
    assert main(["corpus", "build", str(folder / "corpus.yaml")]) == 0
    return folder


def pretrain(base, folder, **changes):
    folder.mkdir(exist_ok=True)
    keys = recipe_text(folder, base / "model", context=64, data={"folder": str(base / "corpus")}, steps=6)
    keys["held_out"] = {"every_steps": 3, "rows": 8}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(keys | changes))
    return main(["pretrain", str(folder / "recipe.yaml")])


def test_a_corpus_becomes_a_model(base, tmp_path):
    assert pretrain(base, tmp_path, optimizer={"learning_rate": 3e-3, "schedule": "constant"}) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    # 24 rows of 64 tokens, three of four from the first source.
    assert (steps[-1]["tokens/medical"], steps[-1]["tokens/general"]) == (18 * 64, 6 * 64)
    held = [line["perplexity/medical"] for line in lines if "perplexity/medical" in line]
    assert len(held) == 3 and held[-1] < held[0]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final").num_parameters() > 0


def test_what_does_not_fit_the_corpus_is_told_at_once(base, tmp_path, capsys):
    data = {
        "folder": str(base / "corpus"),
        "weights": {"medical": 3, "medicine": 1},
        "max_epochs": {"medical": 9, "genral": 2},
    }
    best = {"figure": "perplexity/poems"}
    assert pretrain(base, tmp_path, data=data, best=best, context=256) == 2
    said = capsys.readouterr().err.splitlines()
    keys = ["context", "data.weights.medicine", "data.max_epochs.genral", "best.figure"]
    assert [line.split(": ")[2] for line in said] == keys
    assert all("has no source" in line and "it has medical, general" in line for line in said[1:3])
    assert "which has perplexity/general, perplexity/medical" in said[3]
    assert pretrain(base, tmp_path, data={**data, "weights": {"medical": -1, "general": 0}}) == 2
    assert [line.split(": ", 2)[2] for line in capsys.readouterr().err.splitlines()] == [
        "weights.general: must be above 0, and is 0.0",
        "weights.medical: must be above 0, and is -1.0",
    ]
    (base / "damaged").mkdir()
    (base / "damaged" / "manifest.json").write_text('{"format": 1, "shards": []}')
    assert pretrain(base, tmp_path, data={"folder": str(base / "damaged")}) == 2
    assert "manifest.json is damaged (not all of it is there)" in capsys.readouterr().err


def test_steps_beyond_the_data_are_refused(base, tmp_path, capsys):
    corpus = {"folder": str(base / "corpus"), "max_epochs": {"medical": 1, "general": 1}}
    assert pretrain(base, tmp_path, data=corpus, steps=100_000) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert ": steps: the data makes " in said and "and 100,000 are asked for" in said
    possible = int(said.split("the data makes ")[1].split(" ")[0])
    assert pretrain(base, tmp_path, data=corpus, steps=possible + 1) == 2
    asked = ["pretrain", str(tmp_path / "recipe.yaml"), "--dry-run", "--set", f"steps={possible}"]
    assert main(asked) == 0 and f"steps: {possible:,} of 4 rows (the data has {possible:,})" in capsys.readouterr().out


def test_another_tokenizer_or_mixture_is_refused(base, tmp_path, capsys):
    write_tokenizer(tmp_path / "other", vocabulary=258)
    assert pretrain(base, tmp_path, model={"path": str(tmp_path / "other")}) == 2
    assert "was tokenised with another tokenizer" in capsys.readouterr().err
    assert pretrain(base, tmp_path, data={"folder": str(base / "corpus"), "weights": {"medicine": 1}}) == 2
    assert "has no source medicine" in capsys.readouterr().err
    assert pretrain(base, tmp_path, data={"folder": str(tmp_path)}) == 2
    assert "holds no finished corpus" in capsys.readouterr().err
    assert pretrain(base, tmp_path) == 0
    changed = {"folder": str(base / "corpus"), "weights": {"medical": 1, "general": 1}}
    (tmp_path / "run" / "final").rename(tmp_path / "kept")
    assert pretrain(base, tmp_path, data=changed) == 2
    assert "was made by another recipe: data.weights" in capsys.readouterr().err
