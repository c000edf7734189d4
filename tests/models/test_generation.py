"""How the next token is chosen in models in the Hugging Face format: cuts, dice, allowed answers; template switches."""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from lm_eval.models.huggingface import HFLM  # noqa: E402
from tiny_llama import TEXTS, save_tiny_llama, tiny_llama, tiny_tokenizer  # noqa: E402

import mibe  # noqa: E402
from mibe.errors import UsageError  # noqa: E402
from mibe.models import load_model  # noqa: E402
from mibe.models.base import Message, Request, Sampling  # noqa: E402
from mibe.models.checkpoint import recommended_by  # noqa: E402
from mibe.models.hf.choosing import Answers, Chooser, Draw, encode_after  # noqa: E402
from mibe.models.hf.endings import Written  # noqa: E402
from mibe.models.hf.model import HfModel  # noqa: E402
from mibe.models.local.counting import load_counter  # noqa: E402
from mibe.models.templates import template_switches  # noqa: E402
from mibe.parsers.reasoning import FORMATS  # noqa: E402
from mibe.results.folder import read_record  # noqa: E402
from mibe.results.log import read_rows  # noqa: E402

ODDS = [0.5, 0.3, 0.15, 0.05]
SWITCHED = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def wrap(model, tokenizer, *, batch_size=4, chat=False):
    engine = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)
    return HfModel(engine, name="tiny", identity=None, batch_size=batch_size, chat=chat)


@pytest.fixture(params=["shared", "plain"])
def model(tokenizer, request):
    """A model in both loops: mibe's own, and transformers' for those whose past is more than keys and values."""
    made = wrap(tiny_llama(), tokenizer)
    if request.param == "plain":
        made._reader.limit = 0
    return made


@pytest.fixture
def folder(tmp_path):
    return save_tiny_llama(tmp_path / "model")


def ask(text, **sampling):
    return Request((), text, Sampling(**{"max_new_tokens": 12, **sampling}))


def generate(model, requests):
    found = dict(model.generate(requests))
    return [found[index] for index in range(len(requests))]


def load(folder, **args):
    return load_model("hf", {"pretrained": str(folder), "device": "cpu", **args})


def use_template(folder, template):
    """Give a saved model another chat template."""
    file = folder / "chat_template.jinja"
    assert file.is_file()
    file.write_text(template)
    return folder


# Cuts


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ({}, [0, 1, 2, 3]),
        ({"top_k": 3}, [0, 1, 2]),
        ({"top_p": 0.75}, [0, 1]),
        ({"top_p": 0.85}, [0, 1, 2]),
        ({"min_p": 0.25}, [0, 1, 2]),
        ({"min_p": 0.7}, [0]),
        ({"top_k": 3, "top_p": 0.5}, [0]),
    ],
)
def test_tokens_are_drawn_from_what_a_cut_leaves_as_likely_as_before(cut, left):
    """By definition: the K likeliest; the fewest that make up a share of P; those with P times the largest odds."""
    count = 4000
    draw = Draw(0)
    dice = [torch.Generator().manual_seed(seed) for seed in range(count)]
    logits = torch.tensor(ODDS).log().expand(count, -1)
    chosen = Chooser(Sampling(max_new_tokens=1, temperature=1.0, **cut)).choose(
        logits, [draw] * count, [Written()] * count, dice
    )
    total = sum(ODDS[token] for token in left)
    for token in range(4):
        expected = ODDS[token] / total if token in left else 0.0
        assert chosen.count(token) / count == pytest.approx(expected, abs=0.03)
        assert (chosen.count(token) > 0) == (token in left)


def test_temperature_comes_before_the_cuts():
    # At temperature 0.5 odds are squared: 0.685, 0.247, 0.062, 0.007; so 0.65 leaves one, where it left two before.
    dice = [torch.Generator().manual_seed(seed) for seed in range(300)]
    logits = torch.tensor(ODDS).log().expand(300, -1)
    chosen = Chooser(Sampling(max_new_tokens=1, temperature=0.5, top_p=0.65)).choose(
        logits, [Draw(0)] * 300, [Written()] * 300, dice
    )
    assert set(chosen) == {0}


def test_cuts_bear_on_the_text_of_a_model(model):
    hot = [generate(model, [ask(TEXTS[2], temperature=3.0, seed=seed)])[0].text for seed in range(4)]
    narrow = [generate(model, [ask(TEXTS[2], temperature=3.0, seed=seed, top_k=1)])[0].text for seed in range(4)]
    greedy = generate(model, [ask(TEXTS[2])])[0].text
    assert len(set(hot)) == 4 and set(narrow) == {greedy}
    for cut in ({"top_p": 1e-6}, {"min_p": 1.0}):
        assert generate(model, [ask(TEXTS[2], temperature=3.0, **cut)])[0].text == greedy


def test_a_text_depends_on_its_own_seed_and_not_on_its_batch(model):
    requests = [ask(text, temperature=1.5, top_p=0.9, seed=seed) for seed in range(3) for text in TEXTS]
    alone = [generate(model, [request])[0].text for request in requests]
    assert [response.text for response in generate(model, requests)] == alone
    assert [response.text for response in reversed(generate(model, requests[::-1]))] == alone
    assert len(set(alone[::4])) == 3


# Allowed answers


def test_answers_are_a_tree_of_tokens_that_ends_may_cut_short():
    answers = Answers([[5, 6], [5, 6, 7], [8]], ends=[1, 2])
    assert answers.after([]) == [5, 8] and answers.after([5]) == [6]
    assert answers.after([5, 6]) == [1, 2, 7], "one answer is the beginning of another: an end token tells them apart"
    assert not answers.are_over([5, 6]) and answers.are_over([5, 6, 7]) and answers.are_over([8])
    assert answers.after([8]) == [] and answers.after([9]) == []


def test_a_row_that_reasons_is_free_until_its_answer_begins():
    draw = Draw(0, Answers([[2], [3]], ends=[0], openings=[[4, 4]]), {"think": Answers([[0, 2], [2]], ends=[0])})
    logits = torch.tensor([[1.5, 9.0, 1.0, 2.0, 1.8]])

    def next_token(**written):
        return Chooser(Sampling(max_new_tokens=1)).choose(logits, [draw], [Written(**written)], [draw.dice([])])[0]

    assert next_token() == 3, "it may answer at once"
    assert next_token(tokens=[4]) == 4, "or write the mark that opens a reasoning"
    assert next_token(tokens=[4, 4], inside=FORMATS[0], is_sure=True) == 1, "which is free"
    closed = {"tokens": [4, 4, 1, 1], "closed": FORMATS[0], "closed_at": 4}
    assert next_token(**closed) == 0, "an answer after it may follow what belongs between"
    assert not draw.is_over(Written(**closed)) and draw.is_over(Written(**closed | {"tokens": [4, 4, 1, 1, 0, 2]}))


def test_answers_are_tokenized_as_they_stand_after_the_prompt():
    def pieces(texts):
        """Words with the space before them; a colon takes a line break with it."""
        return [
            [sum(map(ord, word)) for word in text.replace(":\n", "§").replace(" ", "| ").split("|")] for text in texts
        ]

    encoded = encode_after("Is it? OUTPUT:", [" yes", " no"], pieces)
    assert encoded == [[sum(map(ord, word))] for word in (" yes", " no")]


@pytest.mark.parametrize("sampling", [{}, {"temperature": 2.0, "seed": 3}])
def test_every_answer_is_one_of_those_allowed(model, sampling):
    allowed = ("yes", "no", "not the patient", "no effect", "warfarin")
    requests = [ask(text, allowed=allowed, max_new_tokens=40, **sampling) for text in TEXTS * 2]
    got = generate(model, requests)
    assert all(response.text.strip() in allowed and response.finish_reason == "stop" for response in got), got
    other = generate(model, [ask(text, allowed=("A", "B"), **sampling) for text in TEXTS] + [ask(TEXTS[0], **sampling)])
    assert all(response.text.strip() in "AB" for response in other[:-1])
    assert other[-1].text == generate(model, [ask(TEXTS[0], **sampling)])[0].text, "its neighbours bind no other row"


def test_the_answer_is_the_likeliest_path_through_those_allowed(model, tokenizer):
    """Against the model itself, one pass for each token, and a search in lists of tokens."""
    allowed = (" No.", " Nothing", " chest pain", " the patient bled")
    raw = tiny_llama()
    requests = [ask(text, allowed=tuple(answer.strip() for answer in allowed), max_new_tokens=40) for text in TEXTS]
    for text, got in zip(TEXTS, generate(model, requests), strict=True):
        prompt = tokenizer(text)["input_ids"]
        paths = [tokenizer(text + answer)["input_ids"][len(prompt) :] for answer in allowed]
        assert all(tokenizer(text + a)["input_ids"][: len(prompt)] == prompt for a in allowed)
        written = []
        while written not in paths:
            with torch.no_grad():
                logits = raw(torch.tensor([prompt + written])).logits[0, -1]
            following = {path[len(written)] for path in paths if path[: len(written)] == written and path != written}
            written.append(max(following, key=lambda token: float(logits[token])))
        assert got.text == tokenizer.decode(written) and got.new_tokens == len(written)


def test_a_constrained_run_has_no_answer_that_cannot_be_read(folder, tmp_path):
    args = {"pretrained": str(folder), "device": "cpu", "max_length": "2048"}
    free = mibe.evaluate(model="hf", model_args=args, tasks="pubmedqa", limit=5, output_dir=tmp_path / "free")
    done = mibe.evaluate(
        model="hf", model_args=args, tasks="pubmedqa", limit=5, output_dir=tmp_path / "bound", constrain=True
    )
    assert free.record["tasks"]["pubmedqa"]["outcomes"]["parsed"] == 0
    assert done.record["tasks"]["pubmedqa"]["outcomes"]["parsed"] == 5
    assert {row["output"] for row in read_rows(done.path / "samples/pubmedqa.jsonl")} <= {"yes", "no", "maybe"}
    assert read_record(done.path)["settings"]["constrain"] is True


# What a checkpoint says


@pytest.mark.parametrize(
    ("template", "switches"),
    [
        (None, set()),
        (SWITCHED, {"enable_thinking"}),
        ("{% for m in messages %}{% if m.thinking %}x{% endif %}{% endfor %}{{ bos_token }}", set()),
        ("{%- if thinking %}t{%- endif %}{% generation %}x{% endgeneration %}", {"thinking"}),
        ("{% set thinking = thinking | default(false) %}{{ thinking }}", {"thinking"}),
        ("{% set enable_thinking = true %}{% for m in messages %}{% break %}{% endfor %}{{ enable_thinking }}", set()),
        (
            '{% macro top() %}{% if reasoning_effort is not defined %}{% set reasoning_effort = "medium" %}{% endif %}'
            '{{ reasoning_effort }}{{ strftime_now("%Y") }}{% endmacro %}{{ top() }}',
            {"reasoning_effort"},
        ),
        ("{% if %}", set()),
    ],
)
def test_the_switches_of_a_template_are_the_names_it_reads_and_its_user_may_set(template, switches):
    assert template_switches(template) == switches


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "eos_token_id": 2},
            {"temperature": 0.6, "top_p": 0.95},
        ),
        (
            {"do_sample": True, "top_k": 20, "repetition_penalty": 1.05},
            {"temperature": 1.0, "top_k": 20, "repetition_penalty": 1.05},
        ),
        ({"temperature": 0.6}, None),
        ({"do_sample": False, "temperature": 0.6}, None),
        ({}, None),
    ],
)
def test_what_a_generation_config_recommends(config, said):
    assert recommended_by(config) == said


def test_thinking_is_switched_by_the_template_of_the_checkpoint(folder, tmp_path):
    model = load(use_template(folder, SWITCHED))
    turns = (Message(role="user", content="Which drug?"),)
    assert model.template_switches == {"enable_thinking"}
    assert model.render(turns).endswith("<|assistant|>")
    model.use_template_args({"enable_thinking": False})
    assert model.render(turns).endswith("<|assistant|><think>\n\n</think>\n\n")
    args = {"pretrained": str(folder), "device": "cpu", "max_length": "2048"}
    settings = {"limit": 2, "thinking_budget": 8}
    runs = {
        how: mibe.evaluate(
            model="hf", model_args=args, tasks="pubmedqa", output_dir=tmp_path / how, thinking=how, **settings
        )
        for how in ("auto", "on", "off")
    }
    prompts = {how: run.record["tasks"]["pubmedqa"]["first_prompt"] for how, run in runs.items()}
    assert prompts["auto"] == prompts["on"] and prompts["off"] == prompts["on"] + "<think>\n\n</think>\n\n"
    assert runs["off"].record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 0
    counter = load_counter("hf", args, characters_per_token=4)
    counter.use_template_args({"enable_thinking": False})
    assert counter.render(turns) == model.render(turns)


def test_a_template_without_switch_or_system_turn_is_one_line_before_anything_runs(folder, tmp_path):
    args = {"pretrained": str(folder), "device": "cpu"}

    def run(**settings):
        where = tmp_path / "runs"
        return mibe.evaluate(model="hf", model_args=args, tasks="pubmedqa", limit=2, output_dir=where, **settings)

    with pytest.raises(UsageError, match="the chat template of model has no switch for thinking; leave out --thinking"):
        run(thinking="off")
    use_template(
        folder,
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    )
    with pytest.raises(UsageError, match="the chat template of model has no place for a system prompt"):
        run(system_prompt="You are careful.")
    use_template(folder, "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}{% endfor %}")
    with pytest.raises(UsageError, match="the chat template of model has no place for a system prompt"):
        run(system_prompt="You are careful.")
    assert not (tmp_path / "runs").exists()
    args["chat_template"] = "off"
    with pytest.raises(UsageError, match="model has no chat template whose switches could be set"):
        run(chat_template_args={"enable_thinking": False})


def test_generation_model_is_what_the_checkpoint_says(folder, tmp_path):
    args = {"pretrained": str(folder), "device": "cpu", "max_length": "2048"}

    def run(**settings):
        where = tmp_path / "runs"
        return mibe.evaluate(model="hf", model_args=args, tasks="pubmedqa", limit=2, output_dir=where, **settings)

    with pytest.raises(UsageError, match="the checkpoint of model recommends no sampling"):
        run(generation="model")
    file = folder / "generation_config.json"
    config = json.loads(file.read_text()) | {"do_sample": True, "temperature": 1.7, "top_k": 20, "top_p": 0.9}
    file.write_text(json.dumps(config))
    greedy, theirs, same = run(), run(generation="model"), run(temperature=1.7, top_k=20, top_p=0.9)
    assert read_record(theirs.path)["generation"] == {"temperature": 1.7, "top_p": 0.9, "top_k": 20, "min_p": 0.0}
    texts = [
        {row["id"]: row["output"] for row in read_rows(run.path / "samples/pubmedqa.jsonl")}
        for run in (greedy, theirs, same)
    ]
    assert texts[1] == texts[2] != texts[0]
    assert read_record(greedy.path)["generation"]["temperature"] == 0
