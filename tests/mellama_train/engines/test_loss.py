"""The loss: which tokens it is over, that documents in one row do not see each other, and that its forms agree."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from training_parts import LENGTH, VOCABULARY, FormulaRows, documents, losses, make_model, recipe, train_here
from transformers import AutoModelForCausalLM

from mellama_train.errors import ModelLoadError, RecipeError
from mellama_train.model import varlen
from mellama_train.model.loss import CausalLoss, choose_kernel
from mellama_train.recipe.config import Batch
from mellama_train.rows.batches import collate, load_step, real_tokens
from mellama_train.rows.row import IGNORED, Row
from mellama_train.rows.steps import accumulation, own_indices


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


def load(folder, attention="sdpa"):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32)


def unpacked_loss(model, rows):
    """Every document alone, by the model's own logits: what packing must be equal to."""
    total = torch.zeros(())
    for row in rows:
        for tokens, labels in documents(row):
            logits = model(input_ids=torch.tensor(tokens)[None]).logits[0]
            total = total + F.cross_entropy(logits[:-1], torch.tensor(labels)[1:], reduction="sum", ignore_index=-100)
    return total


def gradients(model):
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


def assert_equal_gradients(ours, theirs):
    scale = max(float(value.abs().max()) for value in theirs.values())
    for name, value in theirs.items():
        assert float((ours[name] - value).abs().max()) < 1e-5 * scale, name


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flex_attention"])
@pytest.mark.parametrize("flatten", [False, True])
def test_packed_rows_train_as_separate_documents_do(folder, attention, flatten):
    if attention == "flex_attention" and not torch.cuda.is_available():
        pytest.skip("FlexAttention has no backward pass on CPUs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = [FormulaRows(9)[index] for index in range(3)]
    reference = load(folder)
    expected = unpacked_loss(reference, rows)
    expected.backward()
    model = load(folder, attention).to(device)
    loss = CausalLoss(model, kernel="chunked", flatten=flatten)(collate(rows).to(device))
    loss.backward()
    model.to("cpu")
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert_equal_gradients(gradients(model), gradients(reference))


def each_document(q, k, v, bounds, keys, longest, longest_key, *, scale, window_size, enable_gqa):
    """What `torch.nn.attention.varlen.varlen_attn` promises, document by document."""
    assert keys is bounds and longest == longest_key == int(bounds.diff().max()) and window_size[1] == 0 and enable_gqa
    parts = []
    for start, end in itertools.pairwise(bounds.tolist()):
        one = [tensor[start:end].transpose(0, 1) for tensor in (q, k, v)]
        parts.append(F.scaled_dot_product_attention(*one, is_causal=True, scale=scale, enable_gqa=True).transpose(0, 1))
    return torch.cat(parts)


def test_attention_of_each_document_gets_their_bounds(folder, monkeypatch):
    """How PyTorch's kernels are called, on a stand-in for them: they themselves run on GPUs (test_gpu.py)."""
    monkeypatch.setattr(varlen, "kernels", lambda: each_document)
    rows = [FormulaRows(9)[index] for index in range(3)]
    reference, model = load(folder), load(folder)
    varlen.use(model)
    expected = unpacked_loss(reference, rows)
    expected.backward()
    loss = CausalLoss(model, kernel="chunked", flatten=True)(collate(rows))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert_equal_gradients(gradients(model), gradients(reference))
    with varlen.set_aside(model):
        assert model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=2, do_sample=False).shape == (1, 5)
    assert model.config._attn_implementation == varlen.NAME


def test_attention_that_the_kernels_cannot_compute_is_refused(tmp_path):
    from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

    shape = {"vocab_size": 64, "hidden_size": 36, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    capped = Gemma2ForCausalLM(Gemma2Config(**shape, **heads, head_dim=16))
    with pytest.raises(ModelLoadError, match="Gemma2ForCausalLM, which caps its attention scores; use auto"):
        varlen.use(capped)
    with pytest.raises(ModelLoadError, match="has heads of 18 numbers"):
        varlen.use(LlamaForCausalLM(LlamaConfig(**shape, **heads)))


def test_a_model_that_keeps_the_bounds_of_documents_to_itself_is_refused(monkeypatch):
    """StableLM's layers are not handed what the model is called with; before, that was a TypeError's traceback."""
    from transformers import StableLmConfig, StableLmForCausalLM

    monkeypatch.setattr(varlen, "kernels", lambda: each_document)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = StableLmForCausalLM(StableLmConfig(vocab_size=VOCABULARY, **shape))
    varlen.use(model)
    with pytest.raises(ModelLoadError, match="StableLmAttention, which is not told where documents begin; use sdpa"):
        CausalLoss(model, kernel="chunked", flatten=True)(collate([FormulaRows(9)[0]]))


def test_auto_attention_is_sdpa_and_eager_for_a_model_without(folder, tmp_path):
    from transformers import BloomConfig, BloomForCausalLM

    from mellama_train.model.loading import load_model

    BloomForCausalLM(BloomConfig(vocab_size=128, hidden_size=32, n_layer=1, n_head=2)).save_pretrained(tmp_path / "old")
    found = [
        load_model(recipe(tmp_path, base), torch.device("cpu"), torch.float32) for base in (folder, tmp_path / "old")
    ]
    assert [model.config._attn_implementation for model in found] == ["sdpa", "eager"]


FUSED = pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="PyTorch has a fused loss from 2.13 on")


@pytest.mark.parametrize("kernel", [pytest.param("fused", marks=FUSED), "full"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_forms_of_the_loss_agree(tmp_path, kernel, tied):
    folder = make_model(tmp_path, tied=tied)
    batch = collate([FormulaRows(2)[0], FormulaRows(2)[1]])
    one, other = load(folder), load(folder)
    expected = CausalLoss(one, kernel="chunked", flatten=False)(batch)
    found = CausalLoss(other, kernel=kernel, flatten=False)(batch)
    expected.backward()
    found.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert_equal_gradients(gradients(other), gradients(one))


def test_the_masked_loss_by_hand(folder):
    """Two documents, one masked prompt: the sum over exactly the three targets that are left."""
    tokens = np.array([5, 6, 7, 8, 9, 10, 11])
    positions = np.array([0, 1, 2, 3, 0, 1, 2])
    labels = np.array([-100, -100, 7, 8, 9, -100, 11])  # 9 begins a document: never a target
    model = load(folder)
    with torch.no_grad():
        loss = CausalLoss(model, kernel="chunked", flatten=False)(collate([Row(tokens, positions, labels, "x")]))
        first = model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[0].double()
        second = model(input_ids=torch.tensor([[9, 10, 11]])).logits[0].double()

    def nats(logits, target):
        return float(torch.logsumexp(logits, 0) - logits[target])

    by_hand = nats(first[1], 7) + nats(first[2], 8) + nats(second[1], 11)
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)


def test_a_row_without_targets_has_no_loss_and_finite_gradients(folder):
    model = load(folder)
    blank = Row(np.zeros(8, np.int64), np.arange(8), np.full(8, IGNORED), "x")
    loss = CausalLoss(model, kernel="chunked", flatten=False)(collate([blank]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(bool((p.grad == 0).all()) for p in model.parameters())


@FUSED
def test_kernels_that_would_not_be_exact_are_refused(folder):
    model = load(folder)
    assert choose_kernel(model, "auto", "fp32") == "fused"
    assert choose_kernel(model, "auto", "bf16") == "chunked"
    with pytest.raises(ModelLoadError, match="fused would not be exact"):
        choose_kernel(model, "fused", "bf16")
    model.config.final_logit_softcapping = 30.0
    assert choose_kernel(model, "auto", "fp32") == "full"


def test_accumulating_four_micro_batches_of_one_is_one_of_four(tmp_path, folder):
    """Rows differ in their number of targets, so means of means would differ."""
    one = recipe(tmp_path / "a", folder, batch={"rows": 4, "micro_rows": 1})
    four = recipe(tmp_path / "b", folder, batch={"rows": 4, "micro_rows": 4})
    train_here(one, FormulaRows(20))
    train_here(four, FormulaRows(20))
    assert losses(one.output) == pytest.approx(losses(four.output), rel=1e-6)


def test_a_step_reads_the_same_rows_on_any_number_of_ranks():
    batch = Batch(rows=8, micro_rows=2)
    for ranks in (1, 2, 4):
        read = [index for rank in range(ranks) for part in own_indices(3, batch, rank, ranks) for index in part]
        assert sorted(read) == list(range(24, 32))
    with pytest.raises(RecipeError, match="no multiple of 3 ranks × micro_rows 2"):
        accumulation(batch, 3)


def test_the_last_step_may_be_short():
    part = load_step(FormulaRows(5), 1, Batch(rows=4, micro_rows=2), 0, 1)
    expected = collate([FormulaRows(5)[4]])
    assert part.targets == len(expected.targets)
    assert sum(part.tokens.values()) == LENGTH


def test_padding_is_not_counted_as_tokens_seen():
    labels = np.array([-100, 4, 5, -100, -100, -100])
    row = Row(np.arange(6), np.array([0, 1, 2, 0, 1, 2]), labels, "x")
    assert real_tokens(row) == 3
