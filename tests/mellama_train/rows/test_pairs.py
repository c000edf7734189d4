"""Pairs of responses: the forms of public files, what of them is compared, and what is refused."""

import json

import pytest
from training_parts import make_tokenizer

from mellama_train.errors import DataError
from mellama_train.recipe.stages import HubDataset
from mellama_train.rows.pairs import EncodedPair, PairSet, doubtful, encode_pair, file_pairs, read_pairs
from mellama_train.rows.samples import encode

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ASKED = ("user", "Is it flu?")
TURNS = [{"role": "user", "content": "Is it flu?"}]


def said(role, text):
    return {"role": role, "content": text}


def written(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def turns(sample):
    return [(turn["role"], turn["content"]) for turn in sample.messages]


@pytest.mark.parametrize(
    ("record", "prompt"),
    [
        ({"prompt": "Is it flu?", "chosen": "Yes.", "rejected": "No."}, [ASKED]),
        ({"prompt": TURNS, "chosen": [said("assistant", "Yes.")], "rejected": [said("assistant", "No.")]}, [ASKED]),
        # UltraFeedback: the prompt beside whole conversations.
        (
            {
                "prompt": "Is it flu?",
                "chosen": [*TURNS, said("assistant", "Yes.")],
                "rejected": [*TURNS, said("assistant", "No.")],
            },
            [ASKED],
        ),
        ({"chosen": [*TURNS, said("assistant", "Yes.")], "rejected": [*TURNS, said("assistant", "No.")]}, [ASKED]),
        # Orca's pairs, an Alpaca-like prompt, SteerLM's names.
        (
            {"system": "Be short.", "question": "Is it flu?", "chosen": "Yes.", "rejected": "No."},
            [("system", "Be short."), ASKED],
        ),
        (
            {"instruction": "Is it flu?", "input": "Fever.", "chosen": "Yes.", "rejected": "No."},
            [("user", "Is it flu?\n\nFever.")],
        ),
        ({"prompt": "Is it flu?", "chosen_response": "Yes.", "rejected_response": "No."}, [ASKED]),
        # LLaMA-Factory's ranking form, OpenAI's, Anthropic's.
        (
            {
                "conversations": [{"from": "human", "value": "Is it flu?"}],
                "chosen": {"from": "gpt", "value": "Yes."},
                "rejected": {"from": "gpt", "value": "No."},
            },
            [ASKED],
        ),
        (
            {
                "input": {"messages": TURNS},
                "preferred_output": [said("assistant", "Yes.")],
                "non_preferred_output": [said("assistant", "No.")],
            },
            [ASKED],
        ),
        (
            {
                "chosen": "\n\nHuman: Is it flu?\n\nAssistant: Since when?\n\nHuman: Today.\n\nAssistant: Yes.",
                "rejected": "\n\nHuman: Is it flu?\n\nAssistant: Since when?\n\nHuman: Today.\n\nAssistant: No.",
            },
            [ASKED, ("assistant", "Since when?"), ("user", "Today.")],
        ),
    ],
)
def test_the_forms_of_public_files(tmp_path, record, prompt):
    (pair,) = read_pairs(written(tmp_path / "p.jsonl", record))
    assert turns(pair.chosen) == [*prompt, ("assistant", "Yes.")]
    assert turns(pair.rejected) == [*prompt, ("assistant", "No.")]
    assert (pair.chosen.source, pair.place) == ("p", f"{tmp_path / 'p.jsonl'}:1")


def test_parquet_and_saved_data_sets_give_what_their_lines_give(tmp_path):
    datasets = pytest.importorskip("datasets")
    lines = [
        {"prompt": TURNS, "chosen": [said("assistant", "Yes.")], "rejected": [said("assistant", answer)], "source": "t"}
        for answer in ("No.", "Never.")
    ]
    table = datasets.Dataset.from_list(lines)
    table.to_parquet(tmp_path / "p.parquet")
    table.save_to_disk(tmp_path / "saved")
    wanted = [(p.chosen.messages, p.rejected.messages) for p in read_pairs(written(tmp_path / "p.jsonl", *lines))]
    for source in (tmp_path / "p.parquet", HubDataset(dataset=str(tmp_path / "saved"))):
        assert [(p.chosen.messages, p.rejected.messages) for p in read_pairs(source)] == wanted


def test_each_response_stands_behind_the_prompt_as_a_sample_would(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    before = [*TURNS, said("assistant", "Since when?"), said("user", "Today.")]
    line = {"prompt": before, "chosen": "Yes.", "rejected": "No, it is not."}
    (pair,) = read_pairs(written(tmp_path / "p.jsonl", line))
    found = encode_pair(pair, tokenizer, "chat")
    shown = [tokenizer.decode(ids).replace(" ", "") for ids in (found.prompt, found.chosen, found.rejected)]
    # An earlier turn of the assistant belongs to the prompt.
    assert shown == [
        "<user>Isitflu?</s>\n<assistant>Sincewhen?</s>\n<user>Today.</s>\n<assistant>".replace("\n", "<unk>"),
        "Yes.</s>",
        "No,itisnot.</s>",
    ]
    assert found.prompt + found.chosen == encode(pair.chosen, tokenizer, "chat").tokens
    assert found.prompt + found.rejected == encode(pair.rejected, tokenizer, "chat").tokens
    assert found.length == len(found.prompt) + len(found.rejected)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": " b\n"}, "chosen and rejected are the same"),
        (
            {"prompt": "a", "chosen": "b"},
            "no pair of responses; it has prompt, chosen, and may have chosen with rejected",
        ),
        ({"chosen": "b", "rejected": "c"}, "the first turn is the assistant's"),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "the turn of assistant has no text"),
        ({"prompt": "a", "chosen": 3, "rejected": "c"}, "the turn of assistant has no text"),
        (
            {
                "chosen": [*TURNS, said("assistant", "b")],
                "rejected": [said("user", "Other?"), said("assistant", "c")],
            },
            "chosen and rejected answer different prompts",
        ),
        (
            {"prompt": [*TURNS, said("assistant", "x")], "chosen": "b", "rejected": "c"},
            "a response is one turn of the assistant",
        ),
        ([1], "not an object"),
    ],
)
def test_what_is_no_pair_is_one_line_with_its_place(tmp_path, line, what):
    file = written(tmp_path / "p.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"}, line)
    with pytest.raises(DataError) as error:
        list(file_pairs([file]))
    assert str(error.value).startswith(f"{file}:2: {what}") and "\n" not in str(error.value)


def test_an_empty_file_holds_no_pair(tmp_path):
    (tmp_path / "p.jsonl").touch()
    with pytest.raises(DataError, match=r"p\.jsonl holds no pair"):
        list(file_pairs([tmp_path / "p.jsonl"]))


def test_a_pair_longer_than_the_context_is_refused_or_left_out(tmp_path):
    file = written(
        tmp_path / "p.jsonl",
        {"prompt": "abc", "chosen": "d", "rejected": "e" * 60},
        {"prompt": "abc", "chosen": "d", "rejected": "e", "source": "short"},
    )

    def read(too_long):
        settings = {"tokenizer_sha256": "t", "context": 20, "form": "plain", "too_long": too_long}
        return PairSet.of(file_pairs([file]), make_tokenizer(), **settings)

    with pytest.raises(DataError, match=r"p\.jsonl:1: the pair has 65 tokens with its longer response and the context"):
        read("error")
    kept, left_out = read("skip")
    assert (len(kept), left_out) == (1, [f"{file}:1"])
    about = kept.describe()
    # "abc d</s>" and "abc e</s>".
    assert (about["pairs"], about["tokens"], about["sources"], about["ends"]) == (1, 12, {"short": 1}, [1])


def test_pairs_that_stand_there_again_or_contradict_others_are_told():
    def pair(prompt, chosen, rejected):
        return EncodedPair(prompt=[prompt], chosen=[chosen], rejected=[rejected], source="s")

    sound = [pair(1, 5, 6), pair(1, 5, 7), pair(2, 6, 5)]
    assert doubtful(sound) == []
    assert doubtful([*sound, pair(1, 5, 6), pair(1, 5, 6)]) == [
        "2 pairs stand there again; each is learned from as often as it stands there"
    ]
    assert doubtful([*sound, pair(2, 5, 6)]) == ["2 pairs contradict others, which prefer what these reject"]
