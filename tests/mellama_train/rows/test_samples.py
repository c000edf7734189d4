"""Samples: which tokens are learned, how they are packed, and what is refused."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasoning_forms import THOUGHT
from training_parts import make_tokenizer

from mellama_train.errors import DataError
from mellama_train.recipe.stages import epochs_for
from mellama_train.rows.packed import SampleRows, SampleSet, file_samples
from mellama_train.rows.packing import first_fit_decreasing, pack_epoch
from mellama_train.rows.samples import Sample, encode, read_samples

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def written(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def learned_text(encoded, tokenizer):
    kept = [token for token, learned in zip(encoded.tokens, encoded.learned, strict=True) if learned]
    return tokenizer.decode(kept).replace(" ", "")


def read(path, **changes):
    settings = {"context": 64, "form": "plain", "too_long": "error"} | changes
    return SampleSet.of(file_samples([path]), make_tokenizer(), tokenizer_sha256="t", **settings)


def test_plain_samples_learn_the_response_and_its_end(tmp_path):
    tokenizer = make_tokenizer()
    (sample,) = read_samples(written(tmp_path / "a.jsonl", {"prompt": "INPUT:x OUTPUT:", "response": "yes"}))
    encoded = encode(sample, tokenizer, "plain")
    assert tokenizer.decode(encoded.tokens).replace(" ", "") == "INPUT:xOUTPUT:yes</s>"
    assert learned_text(encoded, tokenizer) == "yes</s>"


def test_chat_samples_learn_every_response_and_no_prompt(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    turns = [("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    line = {"messages": [{"role": role, "content": text} for role, text in turns], "source": "chat"}
    (sample,) = read_samples(written(tmp_path / "a.jsonl", line))
    encoded = encode(sample, tokenizer, "chat")
    assert sample.source == "chat"
    assert learned_text(encoded, tokenizer) == "a1</s>a2</s>"
    # What the model meets is the template's own text, up to whitespace behind the last end token.
    whole = tokenizer.apply_chat_template(line["messages"], tokenize=False).rstrip()
    assert encoded.tokens == tokenizer(whole, add_special_tokens=False)["input_ids"]


ANSWERED = [("user", "What is it?"), ("assistant", "Flu.")]


@pytest.mark.parametrize(
    ("record", "turns"),
    [
        ({"prompt": "What is it?", "completion": "Flu."}, ANSWERED),
        ({"instruction": "What is it?", "input": "", "output": "Flu."}, ANSWERED),
        (
            {"instruction": "Name it.", "input": "Fever and cough.", "output": "Flu.", "system": "Be short."},
            [("system", "Be short."), ("user", "Name it.\n\nFever and cough."), ("assistant", "Flu.")],
        ),
        (
            {"instruction": "Name it.", "context": "Fever.", "response": "Flu.", "category": "open_qa"},
            [("user", "Name it.\n\nFever."), ("assistant", "Flu.")],
        ),
        ({"question": "What is it?", "answer": "Flu."}, ANSWERED),
        *(
            ({asked: "Name it.", about: "Fever.", answer: "Flu."}, [("user", "Name it.\n\nFever."), ANSWERED[1]])
            for asked, about, answer in (
                ("instruction", "input", "response"),
                ("instruction", "context", "output"),
                ("question", "context", "answer"),
            )
        ),
        *(
            ({"system": "Be short.", **record}, [("system", "Be short."), *ANSWERED])
            for record in (
                {"conversations": [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "Flu."}]},
                {"messages": [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "Flu."}]},
            )
        ),
        (
            {
                "prompt": [{"role": "system", "content": "Its own."}, {"role": "user", "content": "What is it?"}],
                "completion": "Flu.",
                "system": "Another.",
            },
            [("system", "Its own."), *ANSWERED],
        ),
        (
            {
                "conversations": [
                    {"from": "system", "value": ""},
                    {"from": "human", "value": "What is it?"},
                    {"from": "gpt", "value": "Flu."},
                ]
            },
            ANSWERED,
        ),
        (
            {"conversations": [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "Flu."}]},
            ANSWERED,
        ),
        (
            {
                "messages": [
                    {"role": "developer", "content": "Be short."},
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "What "}, {"type": "text", "text": "is it?"}],
                    },
                    {"role": "assistant", "content": "Flu."},
                ]
            },
            [("system", "Be short."), *ANSWERED],
        ),
        (
            {
                "prompt": [{"role": "user", "content": "What is it?"}],
                "completion": [{"role": "assistant", "content": "Flu."}],
            },
            ANSWERED,
        ),
    ],
)
def test_files_by_their_usual_keys(tmp_path, record, turns):
    """The forms of TRL, Alpaca, Dolly, question sets, ShareGPT and OpenAI, as lines and as one list."""
    lines = written(tmp_path / "a.jsonl", record, record)
    (tmp_path / "b.json").write_text(json.dumps([record, record], indent=1))
    for file in (lines, tmp_path / "b.json"):
        found = list(read_samples(file))
        assert [[(m["role"], m["content"]) for m in sample.messages] for sample in found] == [turns, turns]
    assert found[1].place == f"{tmp_path / 'b.json'}:record 2" and found[1].source == "b"


def test_turns_of_tools_are_prompts_and_calls_are_learned(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
        "{% for c in m['tool_calls'] or [] %}[{{ c['function']['name'] }}]{% endfor %}</s>\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    call = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "dose"}}]}
    line = {
        "messages": [
            {"role": "user", "content": "How much?"},
            call,
            {"role": "tool", "content": "5 mg", "tool_call_id": "1"},
            {"role": "assistant", "content": "Take 5 mg."},
        ]
    }
    (sample,) = read_samples(written(tmp_path / "a.jsonl", line))
    encoded = encode(sample, tokenizer, "chat")
    assert learned_text(encoded, tokenizer) == "[dose]</s>Take5mg.</s>"
    with pytest.raises(DataError, match="calls of tools are written by a chat template"):
        encode(sample, tokenizer, "plain")


TOOL = {"name": "dose", "description": "A dose.", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    "tools",
    [[{"type": "function", "function": TOOL}], [TOOL], json.dumps([TOOL])],
    ids=["OpenAI's", "bare", "JSON text, as tables have it"],
)
def test_schemas_of_tools_reach_the_template(tmp_path, tools):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for t in tools or [] %}[{{ t['function']['name'] }}]{% endfor %}"
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
        "{% for c in m['tool_calls'] or [] %}{{ c['function']['arguments']['of'] }}{% endfor %}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    call = {"type": "function", "function": {"name": "dose", "arguments": '{"of": "x"}'}}
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    (sample,) = read_samples(written(tmp_path / "a.jsonl", {"messages": messages, "tools": tools}))
    assert sample.tools == ({"type": "function", "function": TOOL},)
    encoded = encode(sample, tokenizer, "chat")
    assert tokenizer.decode(encoded.tokens).replace(" ", "") == "[dose]<user>q</s><assistant>x</s>"
    assert learned_text(encoded, tokenizer) == "x</s>"
    with pytest.raises(DataError, match="tools are described by a chat template"):
        encode(sample, tokenizer, "plain")


@pytest.mark.parametrize("tools", ["not JSON", {"a": 1}, [3], [{"function": {}}], [{"description": "no name"}]])
def test_schemas_of_another_form_are_named_with_their_line(tmp_path, tools):
    file = written(tmp_path / "a.jsonl", {"prompt": "q", "response": "a", "tools": tools})
    with pytest.raises(DataError, match=r"a.jsonl:1: (tools is no list|a schema of tools is an object)"):
        list(read_samples(file))


def test_half_a_character_is_found_in_calls_and_schemas_too(tmp_path):
    call = {"type": "function", "function": {"name": "dose", "arguments": '{"of": "\\ud83d"}'}}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    for record in ({"messages": turns}, {"prompt": "q", "response": "a", "tools": [{"name": "\ud83d"}]}):
        file = written(tmp_path / "a.jsonl", record)
        with pytest.raises(DataError, match=r"a.jsonl:1: .* holds \\ud83d, half a character"):
            list(read_samples(file))


def test_a_tool_may_answer_with_nothing(tmp_path):
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": ""},
        {"role": "assistant", "content": "nothing"},
    ]
    (sample,) = read_samples(written(tmp_path / "a.jsonl", {"messages": turns}))
    assert [turn["content"] for turn in sample.messages] == ["q", "", "", "nothing"]


@pytest.mark.parametrize("fault", ["'<' + 5", "m['content'] + m", "1 / 0"])
def test_what_a_template_stumbles_over_is_one_line(tmp_path, fault):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ " + fault + " }}{% endfor %}"
    (sample,) = read_samples(written(tmp_path / "a.jsonl", {"prompt": "q", "response": "a"}))
    with pytest.raises(DataError, match="a.jsonl:1: the chat template refuses these turns: "):
        encode(sample, tokenizer, "chat")


def test_a_list_that_is_cut_short_is_named(tmp_path):
    (tmp_path / "a.json").write_text('[{"prompt": "a", "response": "b"},')
    with pytest.raises(DataError, match="a.json: not JSON"):
        list(read_samples(tmp_path / "a.json"))


def test_the_tokens_before_a_response_are_those_of_generation():
    """A tokenizer that puts a blank before a text (as LLaMA's does) must not put one between prompt and response."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"</s>": 0, "<unk>": 1, "▁": 2, "▁yes": 3, "▁OUTPUT": 4, ":": 5}
    fast = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix=""))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="</s>", unk_token="<unk>")
    turns = ({"role": "user", "content": "OUTPUT:"}, {"role": "assistant", "content": "yes"})
    assert encode(Sample(turns, "x", "x:1"), tokenizer, "plain").tokens == [4, 5, 3, 0]


def chat_sample(*texts, place="a.jsonl:1"):
    roles = ("user", "assistant") * len(texts)
    return Sample(tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=False)), "a", place)


def test_a_template_without_an_end_token_gets_the_tokenizers(tmp_path):
    """Between turns the template stays as generation will meet it."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE.replace("</s>", "")
    assert learned_text(encode(chat_sample("q", "Yes, it is."), tokenizer, "chat"), tokenizer) == "Yes,itis.</s>"
    two = encode(chat_sample("q", "a1", "q", "a2"), tokenizer, "chat")
    assert learned_text(two, tokenizer) == "a1a2</s>" and two.tokens.count(tokenizer.eos_token_id) == 1
    tokenizer.chat_template = TEMPLATE.replace("</s>", " [over]")
    assert learned_text(encode(chat_sample("q", "a"), tokenizer, "chat"), tokenizer) == "a[over]</s>"
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="a.jsonl:1: the chat template puts no token behind an answer"):
        encode(chat_sample("q", "a"), tokenizer, "chat")


@pytest.mark.parametrize("name", ["DeepSeek-R1", "Qwen 3 Thinking", "OLMo 3 Think", "Gemma 4"])
def test_templates_that_begin_the_turn_themselves_are_accepted_where_one_turn_follows(name):
    """What is learned is read back as mibe reads what a model writes: by its prompt, into thought and answer."""
    from families import FAMILIES, tokenizer_of

    from mibe.models.reasoning import tell_apart
    from mibe.parsers.reasoning import opened_by

    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    asked = tokenizer.apply_chat_template(chat_sample("q").messages[:1], tokenize=False, add_generation_prompt=True)
    responses = {"no": ""}
    if form := opened_by(asked):
        responses |= {f"{family.written}no": THOUGHT, f"{form.marks[0]}\n{family.written}no": THOUGHT}
    for response, thought in responses.items():
        encoded = encode(chat_sample("q", response), tokenizer, "chat")
        split = encoded.learned.index(True)
        assert tokenizer.decode(encoded.tokens[:split]) == asked
        learned = tokenizer.decode(encoded.tokens[split:])
        assert learned.endswith(f"no{family.end}") and learned.count(family.end) == 1
        text, at = tell_apart(learned.removesuffix(family.end), form, ())
        assert text[at:].strip() == "no" and thought in text[:at] and "<think>" not in text
    if name != "Gemma 4":
        with pytest.raises(DataError, match="a.jsonl:1: the chat template renders a turn otherwise"):
            encode(chat_sample("q", "no", "q", "no"), tokenizer, "chat")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ('{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON"),
        ("[]", "not an object"),
        ('{"prompt": "x"}', "neither prompt with response nor messages"),
        ('{"prompt": "x", "response": " "}', "the turn of assistant has no text"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "nothing to learn at the end"),
        (r'{"prompt": "x", "response": "cut \ud83d"}', r"the turn of assistant holds \\ud83d, half a character"),
        ('{"messages": [{"role": "bot", "content": "x"}]}', "a turn needs a role"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "a prompt comes before a response"),
    ],
)
def test_malformed_lines_are_named(tmp_path, line, problem):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n' + line)
    with pytest.raises(DataError, match=f"a.jsonl:2: .*{problem}"):
        list(read_samples(path))


def test_a_sample_longer_than_the_context_is_an_error_or_counted(tmp_path):
    path = written(tmp_path / "a.jsonl", {"prompt": "x", "response": "y"}, {"prompt": "x" * 90, "response": "y"})
    with pytest.raises(DataError, match=r"a.jsonl:2: the sample has 93 tokens and the context is 64"):
        read(path)
    samples, left_out = read(path, too_long="skip")
    assert (len(samples), left_out) == (1, [f"{path}:2"])


def test_an_empty_file_and_a_missing_template_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no sample"):
        read(written(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match="no chat template"):
        read(written(tmp_path / "a.jsonl", {"prompt": "x", "response": "y"}), form="chat")


def test_rows_hold_whole_samples_with_exact_masks(tmp_path):
    lines = [{"prompt": "p" * (n % 13 + 1), "response": "r" * (n % 29 + 1)} for n in range(200)]
    samples, _ = read(written(tmp_path / "a.jsonl", *lines))
    rows = SampleRows(samples, length=64, epochs=2, window=50, seed=3, padding=1)
    p, r, end = (make_tokenizer().convert_tokens_to_ids(token) for token in ("p", "r", "</s>"))
    responses = []
    for number in range(len(rows)):
        row = rows[number]
        starts = [*np.flatnonzero(row.positions == 0), 64]
        for a, b in itertools.pairwise(starts):
            assert list(row.positions[a:b]) == list(range(b - a))
            if row.tokens[a] != p:
                assert set(row.labels[a:b]) == {-100} and set(row.tokens[a:b]) == {1}  # padding
                continue
            kept = row.labels[a:b][row.labels[a:b] != -100]
            assert not (kept == p).any()
            assert list(kept[-1:]) == [end]
            responses.append(int((kept == r).sum()))
    # Every sample once in each of the two epochs, and none cut.
    assert sorted(responses) == sorted(2 * [n % 29 + 1 for n in range(200)])
    filled = samples.lengths.sum() * 2 / (len(rows) * 64)
    assert filled > 0.95


def test_rows_are_the_same_each_time_and_differ_by_epoch(tmp_path):
    lines = [{"prompt": "p", "response": "r" * (n % 29 + 1)} for n in range(100)]
    samples, _ = read(written(tmp_path / "a.jsonl", *lines))
    one, two = (SampleRows(samples, length=64, epochs=2, window=50, seed=3, padding=1) for _ in range(2))
    assert all((one[n].tokens == two[n].tokens).all() for n in range(len(one)))
    assert one.describe() == two.describe()
    epochs = [pack_epoch(samples.lengths, 64, 50, 3, epoch) for epoch in range(2)]
    assert [list(row) for row in epochs[0]] != [list(row) for row in epochs[1]]


@given(st.lists(st.integers(1, 100), max_size=60))
def test_first_fit_decreasing_is_what_its_name_says(lengths):
    bins = first_fit_decreasing(lengths, 100)
    naive: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fitting = (b for b in naive if sum(lengths[i] for i in b) + lengths[item] <= 100)
        chosen = next(fitting, None)
        if chosen is None:
            naive.append([item])
        else:
            chosen.append(item)
    assert bins == naive


def test_the_papers_number_of_epochs():
    assert (epochs_for(9_999), epochs_for(10_000)) == (5, 3)
