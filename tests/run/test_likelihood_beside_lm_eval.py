"""What `benchmarks/likelihood.py` does with the demo model, in small: lm-eval's tasks and evaluator, a tiny model."""

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tiny_llama import save_tiny_llama

from mibe.models import load_model

pytest.importorskip("lm_eval")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import likelihood

    yield likelihood
    del sys.modules["likelihood"]


@pytest.fixture
def model_folder(tmp_path):
    """A tiny model with room for whole abstracts."""
    folder = save_tiny_llama(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["medmcqa", "medqa_4options", "mmlu", "pubmedqa"])
def test_requests_decisions_and_figures_are_those_of_lm_evals_own_task(benchmark, model_folder, name):
    args = {"pretrained": str(model_folder), "dtype": "float32", "device": "cpu"}
    lm = benchmark.HFLM(**args, batch_size=4)
    plain, chat = (load_model("hf", {**args, "chat_template": form}) for form in ("off", "auto"))
    with closing(plain), closing(chat):
        wanted = ("native", "texts", "own")
        found = list(benchmark.sides(benchmark.NATIVE[name], lm, plain, chat, 8, wanted))
    assert [what for what, *_ in found] == [what for what in wanted if what != "texts" or name != "pubmedqa"]
    for _, ours, theirs in found:
        assert len(ours) == 8
        for ident, one in ours.items():
            assert one.pairs == theirs[ident].pairs
            assert one.values == pytest.approx(theirs[ident].values, abs=1e-3)
        assert all(equal for _, equal in benchmark.compared(ours, theirs))
