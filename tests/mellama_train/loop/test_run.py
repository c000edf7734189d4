"""What a run shows while it goes, what it refuses, and what it leaves behind."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from training_parts import LENGTH, FormulaRows, losses, make_model, recipe, recipe_text, train_here
from transformers import AutoModelForCausalLM, AutoTokenizer

from mellama_train.cli import main
from mellama_train.engines.optimizers import assert_master_weights
from mellama_train.errors import DivergenceError, EngineError, ModelLoadError, RecipeError
from mellama_train.loop.schedule import learning_rate
from mellama_train.loop.spikes import SpikeWatch
from mellama_train.model.loading import choose_attention, load_tokenizer
from mellama_train.plan.flops import cost, peak_flops
from mellama_train.recipe.config import Optimizer, Recipe, SpikePolicy
from mellama_train.recipe.stages import FinetuneRecipe, PretrainRecipe, TuningRecipe
from mellama_train.recipe.yaml_schema import parse


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_figures_of_a_run(model, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reporting = {"tensorboard": True, "peak_tflops": 0.05}
    one = recipe(tmp_path, model, reporting=reporting, held_out={"every_steps": 2, "rows": 4})
    train_here(one, FormulaRows(20), {"held": FormulaRows(6, seed=4)})
    lines = metrics(one.output)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5]
    last = steps[-1]
    assert last["tokens"] == 20 * LENGTH == last["tokens/first"] + last["tokens/second"]
    names = {"learning_rate", "gradient_norm", "tokens_per_second", "mfu", "memory_gib", "seconds_left"}
    assert names <= last.keys() and 0 < last["mfu"] < 1
    assert last["seconds_left"] == 0
    perplexities = [line["step"] for line in lines if "perplexity/first" in line]
    assert perplexities == [0, 2, 4, 5]
    events = EventAccumulator(str(one.output / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses(one.output), rel=1e-6)


def test_held_out_perplexity_is_the_models_own(model, tmp_path):
    import torch.nn.functional as F

    held = FormulaRows(3, seed=4)
    one = recipe(tmp_path, model, held_out={"rows": 2}, steps=1)
    train_here(one, FormulaRows(4), {"held": held})
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    row, nats, count = held[1], 0.0, 0
    starts = [*(row.positions == 0).nonzero()[0], LENGTH]
    for a, b in itertools.pairwise(starts):
        logits = loaded(input_ids=torch.tensor(row.tokens[a:b])[None]).logits[0, :-1]
        labels = torch.tensor(row.labels[a:b])[1:]
        nats += float(F.cross_entropy(logits, labels, reduction="sum", ignore_index=-100).detach())
        count += int((labels != -100).sum())
    first = next(line for line in metrics(one.output) if "perplexity/second" in line)
    assert first["perplexity/second"] == pytest.approx(math.exp(nats / count), rel=1e-5)


def test_training_learns_and_leaves_a_model_folder(model, tmp_path):
    one = recipe(tmp_path, model, optimizer={"learning_rate": 0.01, "schedule": "constant"})
    train_here(one, FormulaRows(160))
    curve = losses(one.output)
    assert sum(curve[-5:]) / 5 < sum(curve[:5]) / 5 - 0.5
    final = one.output / "final"
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= {
        path.name for path in final.iterdir()
    }
    trained = AutoModelForCausalLM.from_pretrained(final)
    assert trained.config.use_cache
    assert AutoTokenizer.from_pretrained(final)("ab")["input_ids"]
    before = AutoModelForCausalLM.from_pretrained(model)
    assert all(not torch.equal(a, b) for a, b in zip(trained.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("tied", [False, True])
def test_bf16_keeps_float32_masters_and_writes_bf16(tmp_path, tied):
    folder = make_model(tmp_path / "model", tied=tied)
    one = recipe(tmp_path, folder, precision="bf16", optimizer={"learning_rate": 8e-6}, steps=3)
    train_here(one, FormulaRows(12))
    written = AutoModelForCausalLM.from_pretrained(one.output / "final", dtype="auto")
    assert written.dtype == torch.bfloat16
    with pytest.raises(EngineError, match="must be float32"):
        assert_master_weights(dict(written.named_parameters()))


def test_activation_checkpointing_and_fp16_compute_the_same(model, tmp_path):
    plain = recipe(tmp_path / "a", model, steps=2)
    saved = recipe(tmp_path / "b", model, steps=2, model={"path": str(model), "activation_checkpointing": True})
    half = recipe(tmp_path / "c", model, steps=2, precision="fp16")
    for one in (plain, saved, half):
        train_here(one, FormulaRows(8))
    assert losses(saved.output) == pytest.approx(losses(plain.output), rel=1e-6)
    assert losses(half.output) == pytest.approx(losses(plain.output), rel=5e-3)


class Spiking(FormulaRows):
    """Rows of one step are tokens of which the model least expects the next one."""

    def __init__(self, count, model):
        super().__init__(count)
        with torch.no_grad():
            logits = AutoModelForCausalLM.from_pretrained(model)(input_ids=torch.full((1, LENGTH), 2)).logits[0]
        self._worst = int(logits.mean(0).argmin())

    def __getitem__(self, index):
        row = super().__getitem__(index)
        if index // 4 == 6:
            row.tokens[:] = 2
            row.labels[1:] = self._worst
        return row


def test_a_spike_is_left_out_or_stops_the_run(model, tmp_path):
    optimizer = {"learning_rate": 1e-4, "schedule": "constant"}
    spikes = {"action": "skip", "factor": 1.3, "window": 3}
    skipping = recipe(tmp_path / "a", model, optimizer=optimizer, spikes=spikes)
    train_here(skipping, Spiking(40, model))
    (event,) = [line for line in metrics(skipping.output) if "event" in line]
    assert event["event"] == "left_out" and event["step"] == 7 and "the median of recent steps" in event["text"]
    stopping = recipe(tmp_path / "b", model, optimizer=optimizer, spikes=spikes | {"action": "stop"})
    with pytest.raises(DivergenceError, match=r"step 7: the loss .* was not applied. Go on with spikes.action: skip"):
        train_here(stopping, Spiking(40, model))
    assert not (stopping.output / "final").exists()


def test_a_step_that_is_left_out_changes_nothing(model, tmp_path):
    """All steps left out: the weights at the end are those of the beginning."""
    one = recipe(tmp_path, model, steps=2, spikes={"action": "skip"}, optimizer={"learning_rate": 1.0})
    broken = FormulaRows(8)
    folder = tmp_path / "broken"
    loaded = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        loaded.lm_head.weight[5] = math.nan
    loaded.save_pretrained(folder)
    load_tokenizer(one.model).save_pretrained(folder)
    one = recipe(tmp_path, folder, steps=2, spikes={"action": "skip"}, optimizer={"learning_rate": 1.0})
    train_here(one, broken)
    after = AutoModelForCausalLM.from_pretrained(one.output / "final")
    assert all(
        torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(after.parameters(), loaded.parameters(), strict=True)
    )
    assert [line["text"] for line in metrics(one.output) if "event" in line] == ["left out: the loss is nan"] * 2


def test_too_many_spikes_in_a_row_stop_the_run():
    watch = SpikeWatch(SpikePolicy(action="skip", most_in_a_row=2))
    watch.left_out(1, "the loss is nan")
    with pytest.raises(DivergenceError, match="2 steps in a row"):
        watch.left_out(2, "the loss is nan")


@pytest.mark.slow
def test_a_probe_scores_the_live_model_and_changes_nothing(tmp_path):
    """The score is what `mibe eval` gives the same weights from disk, and the loss curve is the one without probes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    import mibe

    folder = make_model(tmp_path / "model")
    torch.manual_seed(1)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16384,
            bos_token_id=0,
            eos_token_id=1,
        )
    ).save_pretrained(folder)
    probe = {"tasks": ["medqa"], "limit": 16, "every_steps": 1, "scoring": "loglikelihood"}
    with_probe, without = recipe(tmp_path / "a", folder, probe=probe), recipe(tmp_path / "b", folder)
    train_here(with_probe, FormulaRows(8))
    train_here(without, FormulaRows(8))
    assert losses(with_probe.output) == losses(without.output)
    seen = [line["probe/medqa"] for line in metrics(with_probe.output) if "probe/medqa" in line]
    assert len(seen) == 3
    run = mibe.evaluate(
        model="hf",
        model_args={"pretrained": str(with_probe.output / "final"), "dtype": "float32"},
        tasks=["medqa"],
        limit=16,
        scoring="loglikelihood",
        output_dir=tmp_path / "runs",
        use_cache=False,
    )
    assert seen[-1] == run.scores("medqa")["accuracy"] > 0


def test_lora_leaves_an_adapter_and_trains_nothing_else(model, tmp_path):
    from peft import PeftModel
    from safetensors.torch import load_file

    one = recipe(tmp_path, model, lora={"rank": 4, "layers": ["q_proj", "v_proj"]}, steps=3)
    train_here(one, FormulaRows(12))
    adapter = load_file(one.output / "final" / "adapter_model.safetensors")
    assert len(adapter) == 2 * 2 * 2 and all("q_proj" in name or "v_proj" in name for name in adapter)
    assert any(float(value.abs().max()) > 0 for name, value in adapter.items() if "lora_B" in name)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), one.output / "final")
    size = sum(path.stat().st_size for path in (one.output / "checkpoints").rglob("*.distcp"))
    assert size < sum(path.stat().st_size for path in model.glob("*.safetensors"))
    with pytest.raises(ModelLoadError, match="is an adapter; merge it"):
        train_here(recipe(tmp_path / "next", one.output / "final"), FormulaRows(4))
    with pytest.raises(ModelLoadError, match="lora.layers: .*query"):
        train_here(recipe(tmp_path / "wrong", model, lora={"layers": ["query"]}), FormulaRows(4))


def test_operations_by_the_formula(model):
    loaded = AutoModelForCausalLM.from_pretrained(model)
    n = sum(p.numel() for p in loaded.parameters()) - loaded.get_input_embeddings().weight.numel()
    found = cost(loaded)
    assert found.of(10, 10 * 7) == 10 * (6 * n + 12 * 2 * 64 * 7)
    loaded.requires_grad_(False)
    assert cost(loaded).fixed == 4 * n
    assert peak_flops(torch.device("cpu"), None) is None


def test_the_schedule():
    rates = [learning_rate(step, 100, Optimizer()) for step in range(100)]
    assert rates[0] == pytest.approx(8e-6 / 5)
    assert max(rates) == rates[4] == rates[5] == 8e-6
    assert rates[5 + 95 // 2 + 1] < 4e-6 < rates[5 + 95 // 2 - 1]
    assert 0 < rates[-1] < 1e-8
    assert learning_rate(99, 100, Optimizer(schedule="linear", final_ratio=0.1)) == pytest.approx(
        8e-6 * (0.1 + 0.9 / 95)
    )


def test_the_schedule_that_is_stable_until_it_decays():
    wsd = Optimizer(schedule="wsd", decay_ratio=0.2, final_ratio=0.1)
    rates = [learning_rate(step, 100, wsd) / 8e-6 for step in range(100)]
    assert rates[4:81] == [1.0] * 77
    # 1 - √(share of the decay), from 1 to 0.1: a quarter through, half of the way is done.
    assert rates[85] == pytest.approx(0.1 + 0.9 / 2)
    assert 0.1 < rates[99] < 0.13 and sorted(rates[80:], reverse=True) == rates[80:]
    # What is stable is the same in a run of any length, so one run can be ended at several.
    assert learning_rate(50, 1000, Optimizer(schedule="wsd", warmup_ratio=0.0)) == 8e-6
    assert Optimizer(schedule="wsd").decay == 0.1


def test_the_papers_hyper_parameters_are_the_defaults():
    base = {"model": {"path": "x"}, "output": "y", "batch": {"rows": 1}}
    pretrain = parse(yaml.safe_dump(base | {"data": {"folder": "z"}}), PretrainRecipe, "r")
    assert (pretrain.optimizer.learning_rate, pretrain.optimizer.warmup_ratio) == (8e-6, 0.05)
    assert (pretrain.optimizer.betas, pretrain.optimizer.weight_decay) == ((0.9, 0.95), 1e-5)
    assert (pretrain.optimizer.schedule, pretrain.precision, pretrain.context) == ("cosine", "bf16", 4096)
    for schema, data, epochs in ((TuningRecipe, {"files": ["z"]}, 3), (FinetuneRecipe, {"task": "z"}, None)):
        # One key of the optimizer changed leaves the others the stage's own.
        tuned = parse(yaml.safe_dump(base | {"data": data, "optimizer": {"epsilon": 1e-7}}), schema, "r")
        assert (tuned.optimizer.learning_rate, tuned.optimizer.warmup_ratio, tuned.epochs) == (1e-5, 0.01, epochs)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"optimiser": {}}, "unknown key 'optimiser'"),
        ({"batch": {"rows": 6, "micro_rows": 4}}, "micro_rows: 4 does not divide the 6 rows"),
        ({"engine": {"zero": 2}}, "zero: goes with name: deepspeed"),
        ({"optimizer": {"decay_ratio": 0.1}}, "decay_ratio: goes with schedule: wsd"),
        ({"optimizer": {"schedule": "wsd", "decay_ratio": 0.99}}, "decay_ratio: and warmup_ratio are more than"),
        ({"lora": {"variant": "dara"}}, "did you mean dora"),
        ({"engine": {"offload_optimizer": True}}, "offload_optimizer: needs sharding: fsdp"),
        ({"engine": {"name": "deepspeed", "zero": 2, "offload_parameters": True}}, "offload_parameters: needs zero: 3"),
        ({"precision": "fp16", "engine": {"sharding": "fsdp"}}, "fp16 needs scaled losses"),
        (
            {"lora": {"four_bit": True}, "engine": {"name": "deepspeed", "zero": 3}},
            "four_bit weights cannot be sharded",
        ),
        ({"optimizer": {"betas": [0.9]}}, "betas: must be two numbers"),
        ({"spikes": {"factor": 1}}, "factor: must be above 1"),
    ],
)
def test_contradictory_recipes_are_refused_with_their_line(changes, problem, tmp_path):
    text = yaml.safe_dump(recipe_text(tmp_path, tmp_path, **changes))
    with pytest.raises(RecipeError, match=rf"recipe.yaml:\d+: .*{problem}"):
        parse(text, Recipe, "recipe.yaml")


def test_what_this_machine_cannot_do_is_said_at_once(model, tmp_path, monkeypatch):
    cpu = torch.device("cpu")
    with pytest.raises(ModelLoadError, match="flash_attention_2 needs a CUDA GPU"):
        choose_attention("flash_attention_2", "bf16", cpu)
    for keys, problem in (
        ({"model": {"path": str(model), "liger": True}}, "model.liger needs a CUDA GPU"),
        ({"lora": {"four_bit": True}}, "four_bit needs a CUDA GPU"),
        ({"context": 512}, "context 512 is longer than the 256 positions"),
        ({"model": {"path": str(tmp_path / "nowhere")}}, "cannot load"),
    ):
        if torch.cuda.is_available() and "GPU" in problem:
            continue
        with pytest.raises(ModelLoadError, match=problem):
            train_here(recipe(tmp_path, model, **keys), FormulaRows(4))
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.delitem(sys.modules, "mellama_train.engines.deepspeed", raising=False)
    with pytest.raises(EngineError, match="deepspeed, which is not installed"):
        train_here(recipe(tmp_path, model, engine={"name": "deepspeed"}), FormulaRows(4))


def test_instruct_from_the_command_line(model, tmp_path, capsys):
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps({"prompt": f"q{n}", "response": "yes"}) + "\n" for n in range(40)))
    keys = recipe_text(tmp_path, model, data={"files": [str(samples)], "held_out": [str(samples)]})
    path = tmp_path / "instruct.yaml"
    path.write_text(yaml.safe_dump(keys | {"lora": {"rank": 2}}))
    for changes, epochs in (([], 3), (["--set", f"output={tmp_path / 'other'}", "--set", "epochs=1"], 1)):
        assert main(["instruct", str(path), *changes]) == 0
        final = capsys.readouterr().out.strip()
        assert final == str(tmp_path / ("other" if changes else "run") / "final")
        last = [line for line in metrics(Path(final).parent) if "loss" in line][-1]
        assert last["tokens/samples"] == epochs * sum(len(f"q{n} yes") + 1 for n in range(40))


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mellama_train.cli import parser; parser().format_help();"
        "print(sorted({'torch', 'transformers', 'numpy', 'deepspeed', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_recipes_that_come_with_the_package_are_right():
    from mellama_train.recipe.yaml_schema import load

    schemas = {"pretrain": PretrainRecipe, "instruct": TuningRecipe, "finetune": FinetuneRecipe}
    files = [file for stage in schemas for file in (Path(__file__).parents[3] / "recipes").glob(f"{stage}-*.yaml")]
    assert len(files) == 9
    found = {file.stem: load(file, schemas[file.stem.split("-")[0]]) for file in files}
    for size in ("13b", "70b"):
        pretrain = found[f"pretrain-{size}"]
        # The paper's accumulation of 16 on its 160 GPUs.
        assert pretrain.batch.rows == 16 * 160 * pretrain.batch.micro_rows
        assert (pretrain.optimizer, pretrain.context) == (Optimizer(), 4096)
    assert found["pretrain-70b"].engine.zero == 3
    assert found["finetune-13b"].epochs is found["finetune-70b"].epochs is None


def test_each_recipe_of_the_paper_reads_what_the_one_before_it_writes(monkeypatch):
    from mellama_train.corpus.config import CorpusConfig
    from mellama_train.instructions.config import InstructionsConfig
    from mellama_train.recipe.yaml_schema import load

    root = Path(__file__).parents[3]
    names = "LLAMA2 PILE MIMIC3 MIMIC4 MIMIC4_NOTE MIMIC_CXR REDPAJAMA INSTRUCTIONS PMC PUBMED"
    for name in names.split():
        monkeypatch.setenv(f"{name}_DIR", "/data")
    corpus = load(root / "examples" / "corpus-paper.yaml", CorpusConfig)
    instructions = load(root / "recipes" / "instructions-paper.yaml", InstructionsConfig)
    for size in ("13b", "70b"):
        pretrain = load(root / "recipes" / f"pretrain-{size}.yaml", PretrainRecipe)
        instruct = load(root / "recipes" / f"instruct-{size}.yaml", TuningRecipe)
        finetune = load(root / "recipes" / f"finetune-{size}.yaml", FinetuneRecipe)
        assert pretrain.data.folder == corpus.output and pretrain.context == corpus.length
        assert instruct.data.files == (instructions.output / "train.jsonl",)
        assert instruct.model.path == finetune.model.path == str(pretrain.output / "final")
