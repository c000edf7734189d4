"""What is wrong with a model's folder is one line when it is loaded: tiny real models with real faults on disk."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from tiny_llama import TEXTS, save_tiny_llama, tiny_llama, tiny_tokenizer  # noqa: E402

import mibe  # noqa: E402
from mibe.errors import ModelError  # noqa: E402
from mibe.models import identity, load_model, parse_model  # noqa: E402
from mibe.models.base import ChoiceRequest, Message, Request, Sampling  # noqa: E402
from mibe.models.hf import model as hf_model  # noqa: E402
from mibe.models.identity import Hashing, folder_identity, source_identity  # noqa: E402
from mibe.models.local.counting import load_counter  # noqa: E402
from mibe.models.text import one_line  # noqa: E402
from mibe.terminal.news import heard_by, say  # noqa: E402

WANTS_SYSTEM = "{% if messages[0].role != 'system' %}{{ raise_exception('Begin with a system turn.') }}{% endif %}x"
NO_SHOTS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('One question only') }}{% endif %}"
    "{{ m.content }}{% endfor %}"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the saved model that a test may spoil."""
    return shutil.copytree(saved, tmp_path / "copy")


def with_template(folder, template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    (folder / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(folder)
    return folder


def load(folder, **args):
    return load_model("hf", {"pretrained": str(folder), "device": "cpu", **args})


def refused(folder, **args):
    with pytest.raises(ModelError) as caught:
        load(folder, **args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Chat templates


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }}", "fails: Unexpected end of template"),
        ("{{ bos_token }}{{ turns[0].content }}", "fails: 'turns' is undefined"),
        ("{{ messages[0].content + 3 }}", "fails: can only concatenate str"),
        ("{{ raise_exception('Never') }}", "fails: Never"),
        ({"rag": "a", "tool_use": "b"}, "it comes in named forms alone (rag, tool_use), none of them called default"),
    ],
)
def test_a_template_that_fails_is_found_at_load(folder, template, reason):
    said = refused(with_template(folder, template))
    assert said.startswith("the chat template of copy fails: ") and reason in said and "chat_template=off" in said
    plain = load(folder, chat_template="off")
    assert plain.render([Message(role="user", content="Hi")]) == "Hi" and not plain.is_chat


def test_named_templates_with_a_default_are_used(folder):
    model = load(with_template(folder, {"default": "<{{ messages[0].content }}>", "rag": "b"}))
    assert model.render([Message(role="user", content="Hi")]) == "<Hi>"


def test_a_template_that_wants_a_system_turn_stops_a_run_that_has_none_before_its_first_prompt(folder, tmp_path):
    model = load(with_template(folder, WANTS_SYSTEM))
    asked = Message(role="user", content="Hi")
    assert model.render([Message(role="system", content="You"), asked]) == "x"
    with pytest.raises(ModelError, match="fails: Begin with a system turn; mend it"):
        model.render([asked])
    with pytest.raises(ModelError, match="fails: Begin with a system turn; mend it"):
        mibe.evaluate(model=model, tasks="pubmedqa", limit=2, output_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_template_without_answers_stops_a_run_with_worked_examples_alone(folder, tmp_path):
    model = load(with_template(folder, NO_SHOTS))
    with pytest.raises(ModelError, match="One question only"):
        mibe.evaluate(model=model, tasks="pubmedqa", limit=1, num_fewshot=1, output_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_class_of_lm_eval_says_the_same(folder):
    with_template(folder, "{{ raise_exception('Never') }}")
    model = load_model("lm_eval:hf", {"pretrained": str(folder), "device": "cpu"})
    with pytest.raises(ModelError, match="the chat template of copy fails: Never; mend it"):
        model.render([Message(role="user", content="Hi")])


def test_a_forecast_says_the_same(folder):
    args = {"pretrained": str(with_template(folder, "{{ turns.x }}"))}
    with pytest.raises(ModelError, match=f"the chat template of {folder} fails: 'turns' is undefined; mend it"):
        load_counter("hf", args, characters_per_token=4)
    assert not load_counter("hf", {**args, "chat_template": "off"}, characters_per_token=4).is_chat


def test_a_template_that_wants_a_system_turn_tells_how_its_model_reasons(folder):
    with_template(folder, WANTS_SYSTEM + "<think>")
    counter = load_counter("hf", {"pretrained": str(folder)}, characters_per_token=4)
    lm_eval = load_model("lm_eval:hf", {"pretrained": str(folder), "device": "cpu"})
    assert {model.reasoning.how for model in (load(folder), counter, lm_eval)} == {"its prompt ends in <think>"}


# Vocabularies


def test_a_vocabulary_smaller_than_the_tokenizer_names_both_numbers(folder):
    largest = max(tiny_tokenizer().get_vocab().values())
    tiny_llama(vocab_size=largest).save_pretrained(folder)
    assert f"has ids up to {largest}, and the model has {largest} embeddings (ids up to {largest - 1})" in refused(
        folder
    )
    tiny_llama(vocab_size=largest + 1).save_pretrained(folder)
    assert load(folder).is_chat


def test_weights_of_another_shape_are_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 400}))
    said = refused(folder)
    assert "is [320, 32] in the checkpoint and [400, 32] by config.json (and 1 more)" in said


def test_weights_that_are_missing_in_every_layer_are_one_line(folder):
    from safetensors.torch import load_file, save_file

    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if "up_proj" not in k}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks weights of its model (model.layers.{0, 1}.mlp.up_proj.weight)" in refused(folder)


# Adapters and the vocabulary


def adapted(tmp_path, *, base_rows, rows=None, **config):
    """Folders of a base, an adapter trained on it (resized to `rows` first), and both merged."""
    peft = pytest.importorskip("peft")
    tokenizer = tiny_tokenizer()
    folders = {name: tmp_path / name for name in ("base", "adapter", "merged")}
    model = tiny_llama(vocab_size=base_rows)
    model.save_pretrained(folders["base"])
    if rows is not None:
        model.resize_token_embeddings(rows)
    torch.manual_seed(5)
    made = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, r=4, target_modules=["q_proj"], **config)
    )
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "modules_to_save" in name:
                weight += torch.randn_like(weight)
    made.save_pretrained(folders["adapter"])
    made.merge_and_unload().save_pretrained(folders["merged"])
    for name in ("base", "merged"):
        tokenizer.save_pretrained(folders[name])
    return folders


def outputs(model):
    sampling = Sampling(max_new_tokens=12)
    texts = dict(model.generate([Request((), text, sampling) for text in TEXTS]))
    scores = dict(model.loglikelihood([ChoiceRequest(text, (" A", " No.")) for text in TEXTS]))
    return [texts[index].text for index in range(len(TEXTS))], [scores[index] for index in range(len(TEXTS))]


@pytest.mark.parametrize(
    ("base_rows", "rows", "config"),
    [
        (384, None, {}),
        (384, None, {"modules_to_save": ["lm_head"]}),
        (384, None, {"modules_to_save": ["embed_tokens", "lm_head"]}),
        (384, 314, {"modules_to_save": ["embed_tokens", "lm_head"]}),
        (300, 314, {"modules_to_save": ["embed_tokens", "lm_head"]}),
        (384, None, {"trainable_token_indices": [3, 313]}),
    ],
    ids=["spare rows", "whole head", "head and embeddings", "cut base", "added tokens", "single tokens"],
)
def test_an_adapter_gives_what_the_merged_model_gives(tmp_path, base_rows, rows, config):
    folders = adapted(tmp_path, base_rows=base_rows, rows=rows, **config)
    texts, scores = outputs(load(folders["base"], peft=str(folders["adapter"])))
    merged_texts, merged_scores = outputs(load(folders["merged"]))
    assert texts == merged_texts
    for found, expected in zip(scores, merged_scores, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_rows_that_nobody_trained_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folders = adapted(tmp_path, base_rows=300, rows=314, modules_to_save=["embed_tokens", "lm_head"])
    file = folders["adapter"] / "adapter_model.safetensors"
    weights = {key: value for key, value in load_file(file).items() if "embed_tokens" not in key}
    save_file(weights, file, metadata={"format": "pt"})
    said = refused(folders["base"], peft=str(folders["adapter"]))
    assert "the adapter has 314 rows in its vocabulary, the base 300, and it brings no embed_tokens" in said


# Attention


def test_a_model_without_sdpa_runs_with_eager_and_says_so(tmp_path, saved):
    assert not transformers.BloomForCausalLM._supports_sdpa
    config = transformers.BloomConfig(vocab_size=320, hidden_size=32, n_layer=1, n_head=2)
    transformers.BloomForCausalLM(config).save_pretrained(tmp_path / "old")
    tiny_tokenizer().save_pretrained(tmp_path / "old")
    heard = []
    with heard_by(heard.append):
        old = load(tmp_path / "old", attn_implementation="auto")
        new = load(saved, attn_implementation="auto")
    assert [line.partition(" in this")[0] for line in heard] == [
        f"loading {tmp_path / 'old'} …",
        f"{tmp_path / 'old'} has no sdpa attention",
        f"loading {saved} …",
    ]
    assert old._model.config._attn_implementation == "eager" and new._model.config._attn_implementation == "sdpa"
    assert new.identity == load(saved).identity


# Messages


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("short"), "short"),
        (ValueError(""), "ValueError"),
        (KeyError("added_tokens"), "KeyError: 'added_tokens'"),
        (ValueError("the reason\nand advice"), "the reason"),
        (
            RuntimeError(
                "Error(s) in loading state_dict for M:\n\tsize mismatch for a.weight: x.\n\tsize mismatch for b: y."
            ),
            "Error(s) in loading state_dict for M: size mismatch for a.weight: x. (and 1 more)",
        ),
        (ValueError("1 validation error for Config\nfield\n  must be positive"), "1 validation error for Config field"),
        (OSError("404 Client Error. (Request ID: 1)\n\nRepository Not Found for url: u.\nPlease"), None),
        (ValueError('Could not load:\nTraceback (most recent call last):\n  File "x"\nOSError: disk'), "OSError: disk"),
        (ValueError("x" * 400), "x" * 299 + "…"),
    ],
)
def test_the_reason_of_a_message_of_many_lines(error, line):
    assert one_line(error) == (line or "404 Client Error. (Request ID: 1) Repository Not Found for url: u.")


def test_torchs_own_mismatch_is_told_whole():
    other = torch.nn.Linear(4, 2)
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Linear(3, 2).load_state_dict(other.state_dict())
    assert "torch.Size([2, 4]) from checkpoint, the shape in current model is torch.Size([2, 3])" in one_line(
        caught.value
    )


# Paths with a comma


def test_a_path_with_a_comma(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "a,b")
    for text in (
        rf"pretrained={str(folder).replace(',', chr(92) + ',')},device=cpu",
        f'pretrained="{folder}",device=cpu',
    ):
        name, args = parse_model(f"hf:{text}")
        assert load_model(name, args).name == "a,b"


# Hashes


def test_folders_are_hashed_while_they_load(saved, monkeypatch):
    """The weights' hash is there before loading is over, and is the one that is computed without threads."""
    hashed = threading.Event()
    hash_file, load_engine = identity.file_sha256, hf_model.load_engine

    def hashing(file, *unwanted):
        digest = hash_file(file, *unwanted)
        if file.suffix == ".safetensors":
            hashed.set()
        return digest

    def loading(values):
        assert hashed.wait(30)
        return load_engine(values)

    monkeypatch.setattr(identity, "file_sha256", hashing)
    monkeypatch.setattr(hf_model, "load_engine", loading)
    model = load(saved)
    assert model.identity["pretrained"] == source_identity(str(saved), None) == {"sha256": folder_identity(saved)}


def test_a_hash_is_that_of_names_and_contents(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.bin").write_bytes(b"w" * (identity.PIECE + 1))
    expected = hashlib.sha256()
    for name in ("config.json", "model.bin"):
        expected.update(f"{name}\0{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}\n".encode())
    with Hashing([str(tmp_path), "owner/nothing"]) as hashing:
        assert hashing.identity(str(tmp_path), None) == {"sha256": expected.hexdigest()}
        assert hashing.identity("owner/nothing", None) is None


def test_who_waits_for_a_hash_is_told_what_for(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "LARGE", 1)
    started = threading.Event()

    def slow(file, unwanted):
        started.wait(30)
        return "0" * 64

    monkeypatch.setattr(identity, "file_sha256", slow)
    (tmp_path / "model.bin").write_bytes(b"weights")
    heard = []
    with Hashing([str(tmp_path)]) as hashing, heard_by(lambda text: (heard.append(text), started.set())):
        hashing.identity(str(tmp_path), None)
    assert heard == [f"hashing the weights of {tmp_path} (0 GB left); remembered until they change …"]


def test_a_hash_that_nobody_wants_ends_and_is_not_remembered(tmp_path, own_folders):
    (tmp_path / "model.bin").write_bytes(b"w" * (3 * identity.PIECE))
    unwanted = threading.Event()
    unwanted.set()
    with pytest.raises(ModelError, match="not hashed to its end"):
        identity.file_sha256(tmp_path / "model.bin", unwanted)
    assert not (own_folders / "cache" / "hashes").exists()


def test_a_file_that_cannot_be_read_is_an_error_and_no_hang(tmp_path):
    (tmp_path / "model.bin").symlink_to(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{}")
    with Hashing([str(tmp_path)]) as hashing:
        hashing.identity(str(tmp_path), None)
    (tmp_path / "config.json").write_text("{ }")
    before = Path.open
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with Hashing([str(tmp_path)]) as hashing, pytest.raises(ModelError, match=r"cannot read .*: Permission denied"):
            hashing.identity(str(tmp_path), None)
    assert Path.open is before


def test_nobody_need_listen():
    say("dropped")


# The command line


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: with_template(folder, "{{ turns }}{{ turns.x }}"), "the chat template of copy fails: 'turns'"),
        (lambda folder: tiny_llama(vocab_size=64).save_pretrained(folder), "and the model has 64 embeddings"),
        (lambda folder: with_template(folder, WANTS_SYSTEM), "fails: Begin with a system turn"),
    ],
    ids=["template", "vocabulary", "system turn"],
)
@pytest.mark.slow
def test_a_command_says_that_it_loads_and_then_one_line(folder, tmp_path, spoil, says):
    spoil(folder)
    args = ["--model", "hf", "--model-args", f'pretrained="{folder}",device=cpu', "--tasks", "pubmedqa", "--limit", "1"]
    command = [sys.executable, "-m", "mibe", "eval", *args, "--output-dir", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2 and done.stdout == ""
    first, second, last = done.stderr.splitlines()
    assert second.startswith("importing torch and transformers")
    assert first == f"loading {folder} …" and last.startswith("mibe: ") and says in last


def test_a_comma_in_a_path_is_explained_by_the_command():
    command = [sys.executable, "-m", "mibe", "eval", "--model", "hf", "--tasks", "pubmedqa", "--model-args"]
    done = subprocess.run([*command, "pretrained=/data/a,b"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and r"a comma in a value is written \, or" in done.stderr
