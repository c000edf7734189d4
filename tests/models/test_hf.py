"""Models in the Hugging Face format, on a tiny random Llama that is made here, against lm-eval's own loops."""

import functools
import json
import os
import shutil
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_llama import TEXTS, save_tiny_llama, tiny_llama, tiny_tokenizer  # noqa: E402

import mibe  # noqa: E402
from mibe.data.documents import examples  # noqa: E402
from mibe.errors import ModelError  # noqa: E402
from mibe.models import load_model  # noqa: E402
from mibe.models.base import ChoiceRequest, Message, Request, Sampling  # noqa: E402
from mibe.models.hf.batches import Batcher, batch_that_fits, is_out_of_memory  # noqa: E402
from mibe.models.hf.grouping import common_length, group_by_head  # noqa: E402
from mibe.models.hf.loading import untrained_weights  # noqa: E402
from mibe.models.hf.model import HfModel  # noqa: E402
from mibe.models.hf.reader import Reader, alike, plain_cache_limit  # noqa: E402
from mibe.models.hf.slots import Part, merge  # noqa: E402
from mibe.models.identity import file_sha256  # noqa: E402
from mibe.models.pairs import encode_pairs  # noqa: E402
from mibe.registry import load_task  # noqa: E402
from mibe.results.log import read_rows  # noqa: E402
from mibe.run.likelihood import judge_likelihoods  # noqa: E402
from mibe.task import Outcome  # noqa: E402


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def lm_eval_of(model, tokenizer):
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)


def wrap(model, tokenizer, *, batch_size=4, chat=False):
    engine = lm_eval_of(model, tokenizer)
    return HfModel(engine, name="tiny", identity=None, batch_size=batch_size, chat=chat)


@pytest.fixture
def model(tokenizer):
    return wrap(tiny_llama(), tokenizer)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the saved model that a test may spoil."""
    return shutil.copytree(saved, tmp_path / "copy")


def ask(text, *, max_new_tokens=12, stop=(), temperature=0.0, seed=0):
    return Request((), text, Sampling(max_new_tokens=max_new_tokens, stop=stop, temperature=temperature, seed=seed))


def generate(model, requests):
    found = dict(model.generate(requests))
    assert sorted(found) == list(range(len(requests)))
    return [found[index] for index in range(len(requests))]


def load(folder, **args):
    return load_model("hf", {"pretrained": str(folder), "device": "cpu", **args})


def tokens_read(model):
    """Filled as the model runs: the number of tokens of each forward pass."""
    counts = []
    model._model.register_forward_pre_hook(
        lambda module, args, kwargs: counts.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return counts


# Generation


def test_text_is_that_of_lm_eval(model):
    stop = generate(model, [ask(TEXTS[0])])[0].text[5:8]
    settings = {"until": [stop], "max_gen_toks": 12, "do_sample": False}
    theirs = model._engine.generate_until(
        [Instance("generate_until", {}, (text, dict(settings)), 0) for text in TEXTS], disable_tqdm=True
    )
    ours = generate(model, [ask(text, stop=(stop,)) for text in TEXTS])
    assert [response.text for response in ours] == theirs


def test_a_batch_gives_what_each_prompt_gives_alone(model):
    alone = [generate(model, [ask(text)])[0] for text in TEXTS]
    together = generate(model, [ask(text) for text in TEXTS])
    assert [(r.text, r.prompt_tokens, r.new_tokens) for r in together] == [
        (r.text, r.prompt_tokens, r.new_tokens) for r in alone
    ]
    assert [r.prompt_tokens for r in together] == [model.count_tokens(text) for text in TEXTS]


def test_longest_prompts_come_first(model):
    model._batches = Batcher(1)
    order = [index for index, _ in model.generate([ask(text) for text in TEXTS])]
    assert order == [2, 0, 1, 3]


def test_each_row_has_its_own_end(model):
    free = generate(model, [ask(text) for text in TEXTS])
    assert {(r.finish_reason, r.new_tokens) for r in free} == {("length", 12)}
    stop = free[0].text[6:9]
    rows = generate(model, [ask(text, stop=(stop, "never said")) for text in TEXTS])
    for row, before in zip(rows, free, strict=True):
        if stop in before.text:
            assert (row.text, row.finish_reason) == (before.text.split(stop)[0], "stop")
            assert row.new_tokens <= 12
        else:
            assert row == type(row)(
                text=before.text,
                finish_reason="length",
                prompt_tokens=before.prompt_tokens,
                new_tokens=12,
                seconds=row.seconds,
                latency=row.latency,
                first_token=row.first_token,
            )
    assert rows[0].finish_reason == "stop" and rows[0].new_tokens < 12


def test_the_end_token_ends_one_row_and_not_the_others(tokenizer):
    plain = wrap(tiny_llama(), tokenizer)
    first, second = (
        plain._encoder.whole([r.text])[0] for r in generate(plain, [ask(t, max_new_tokens=8) for t in TEXTS[:2]])
    )
    end = next(token for token in first[1:] if token not in second)
    llama = tiny_llama()
    llama.generation_config.eos_token_id = [1, end]
    ended, whole = generate(wrap(llama, tokenizer), [ask(t, max_new_tokens=8) for t in TEXTS[:2]])
    assert ended.finish_reason == "stop" and ended.new_tokens < 8
    assert (whole.finish_reason, whole.new_tokens) == ("length", 8)


def test_rows_that_meet_different_stop_strings_do_not_wait_for_the_limit(model):
    free = generate(model, [ask(text, max_new_tokens=100) for text in TEXTS[:2]])
    stops = tuple(response.text[4:6] for response in free)
    steps = tokens_read(model)
    rows = generate(model, [ask(text, max_new_tokens=100, stop=stops) for text in TEXTS[:2]])
    assert [row.finish_reason for row in rows] == ["stop", "stop"]
    assert len(steps) == max(row.new_tokens for row in rows) < 20


def test_settings_of_a_checkpoint_do_not_bend_greedy_decoding(tokenizer):
    llama = tiny_llama()
    expected = generate(wrap(llama, tokenizer), [ask(TEXTS[0])])[0].text
    llama = tiny_llama()
    llama.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=9.0, top_k=3)
    assert generate(wrap(llama, tokenizer), [ask(TEXTS[0])])[0].text == expected


def test_sampling_depends_on_prompt_and_seed_alone(model):
    texts = [generate(model, [ask(TEXTS[0], temperature=1.5, seed=s)])[0].text for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    together = generate(model, [ask(text, temperature=1.5, seed=1) for text in reversed(TEXTS)])
    assert together[-1].text == texts[0]


def test_what_does_not_fit_the_window_is_an_error_response(model):
    fits, too_long, empty = generate(model, [ask("No."), ask("xyz " * 100), ask("")])
    assert fits.finish_reason == "length"
    assert "do not fit the context window of 256" in too_long.error
    assert (too_long.finish_reason, too_long.text) == ("error", "")
    assert empty.finish_reason == "length" and empty.prompt_tokens == 1


# Memory


class HungryLlama(transformers.LlamaForCausalLM):
    """Runs out of memory with a cache of more than `room` slots in all its rows together."""

    room = 0

    @functools.wraps(transformers.LlamaForCausalLM.forward)
    def forward(self, input_ids=None, past_key_values=None, **kwargs):
        rows, tokens = input_ids.shape
        held = 0 if past_key_values is None else past_key_values.get_seq_length()
        if rows * (tokens + held) > self.room:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory")
        return super().forward(input_ids=input_ids, past_key_values=past_key_values, **kwargs)


@pytest.fixture(params=["shared", "plain"])
def path(request):
    """Turns a model into one that is run in this way."""
    return plainly if request.param == "plain" else lambda model: model


def test_batches_are_halved_until_they_fit_with_one_warning(model, tokenizer, path):
    requests = [ask(TEXTS[0] + "x" * i) for i in range(9)]
    expected = [response.text for response in generate(model, requests)]
    hungry = path(wrap(tiny_llama(HungryLlama), tokenizer, batch_size=8))
    longest = model.count_tokens(requests[-1].text)
    # Eight rows never fit, four fit as they begin and not as they grow.
    hungry._model.room = 4 * (longest + 5)
    with pytest.warns(UserWarning, match="out of memory with 8 prompts at once") as caught:
        assert [response.text for response in generate(hungry, requests)] == expected
    assert len(caught) == 1 and hungry._batches.limit == 2


def test_a_prompt_too_large_for_memory_fails_alone(tokenizer, path):
    hungry = path(wrap(tiny_llama(HungryLlama), tokenizer, batch_size=2))
    hungry._model.room = 30
    with pytest.warns(UserWarning, match="out of memory"):
        long, short = generate(hungry, [ask("Which drug? " * 15), ask("No.")])
    assert (long.finish_reason, long.error) == ("error", "out of memory, even alone in a batch")
    assert short.finish_reason == "length"


def test_likelihoods_shrink_their_batches_too(model, tokenizer, path):
    requests = [ChoiceRequest(text, ("Aorta", " vena cava")) for text in TEXTS]
    expected = dict(model.loglikelihood(requests))
    hungry = path(wrap(tiny_llama(HungryLlama), tokenizer, batch_size=8))
    hungry._model.room = 2 * max(model.count_tokens(text + " vena cava") for text in TEXTS)
    with pytest.warns(UserWarning, match="out of memory"):
        found = dict(hungry.loglikelihood(requests))
    assert found.keys() == expected.keys()
    for index, values in expected.items():
        assert found[index] == pytest.approx(values, abs=1e-4)
    hungry._model.room = 2
    with pytest.raises(ModelError, match="out of memory for one prompt"):
        list(hungry.loglikelihood(requests))


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def fails(batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(Batcher(4).run([1, 2], fails))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert not is_out_of_memory(RuntimeError("index out of range"))


def test_automatic_batches_follow_memory_and_length():
    config = transformers.LlamaConfig(hidden_size=4096, num_hidden_layers=32, num_key_value_heads=8, vocab_size=128_256)
    short, long = (batch_that_fits(40 * 2**30, tokens, config, 2) for tokens in (500, 8000))
    assert 10 <= long < short <= 1000
    assert batch_that_fits(0, 100, config, 2) == 1
    assert [len(batch) for batch, _ in Batcher(4).run([9, 9, 1, 1, 1, 1], list, lambda item: 10 // item)] == [1, 1, 4]


# Likelihood


def test_likelihoods_are_those_of_lm_eval(model):
    requests = [
        ChoiceRequest(TEXTS[0] + "\nAnswer:", (" A", " B", " warfarin and more", "x")),
        ChoiceRequest("Which drug? \n", ("A", "patient")),
        ChoiceRequest("", ("A man", "No.")),
    ]
    pairs = [(r.text, continuation) for r in requests for continuation in r.continuations]
    theirs = model._engine.loglikelihood([Instance("loglikelihood", {}, p, 0) for p in pairs], disable_tqdm=True)
    ours = dict(model.loglikelihood(requests))
    assert sorted(ours) == [0, 1, 2]
    assert [v for index in range(3) for v in ours[index]] == pytest.approx([v for v, _ in theirs], abs=1e-4)


def test_likelihoods_without_choices_or_room(model):
    assert list(model.loglikelihood([])) == []
    assert list(model.loglikelihood([ChoiceRequest("q", ())])) == [(0, ())]
    with pytest.raises(ModelError, match="do not fit the context window"):
        list(model.loglikelihood([ChoiceRequest("xyz " * 100, ("A",))]))
    with pytest.raises(ModelError, match="empty continuation"):
        list(model.loglikelihood([ChoiceRequest("q", ("A", ""))]))


def test_white_space_before_an_answer_is_scored_with_it():
    def words(texts):
        return [[int.from_bytes(w.encode(), "big") for w in text.replace(" ", "| ").split("|")] for text in texts]

    (pair,) = encode_pairs("Answer: ", ["B"], words, words, prefix=0)
    assert pair.continuation == tuple(words(["Answer: B"])[0][1:])
    assert pair.context == tuple(words(["Answer:"])[0])


# What prompts share

SHOTS = ["Which drug? Warfarin. The patient bled.\n" * 5, "The patient was given 5 mg of warfarin: No.\n" * 4]


def plainly(model):
    """The model, run by transformers' own loops and without any sharing."""
    model._reader.limit = 0
    return model


def answers(responses):
    return [(r.text, r.finish_reason, r.prompt_tokens, r.new_tokens) for r in responses]


def test_shared_beginnings_change_no_output(model, tokenizer):
    texts = [*TEXTS, TEXTS[0] + " He bled.", TEXTS[0]]
    stop = generate(model, [ask(SHOTS[0] + TEXTS[0])])[0].text[5:7]
    requests = [ask(head + text, stop=(stop,)) for text in texts for head in [*SHOTS, SHOTS[0][:30]]]
    read = tokens_read(model)
    found = generate(model, requests)
    expected = generate(plainly(wrap(tiny_llama(), tokenizer)), requests)
    assert answers(found) == answers(expected)
    assert {response.finish_reason for response in found} == {"stop", "length"}
    # Both heads are read once, and not the half of what would be read without.
    heads = sum(model.count_tokens(head) for head in SHOTS)
    assert heads > 100 and sum(read) < heads + sum(model.count_tokens(text) + 14 for text in texts) * 3


def test_a_head_is_kept_from_call_to_call(model):
    requests = [ask(SHOTS[0] + text, max_new_tokens=1) for text in TEXTS]
    generate(model, requests)
    read = tokens_read(model)
    generate(model, requests)
    assert sum(read) < model.count_tokens(SHOTS[0])


def test_rows_join_as_others_leave(model, tokenizer):
    """Any batch size gives the same text, and free places are taken before the last row has ended."""
    ends = [
        ask(text + tail, max_new_tokens=6 if len(tail) % 2 else 40) for tail in ("", "x", "xy", "xyz") for text in TEXTS
    ]
    stop = generate(model, [ask(TEXTS[0], max_new_tokens=40)])[0].text[3:4]
    requests = [ask(request.text, max_new_tokens=40, stop=(stop,)) for request in ends]
    expected = answers(generate(plainly(wrap(tiny_llama(), tokenizer, batch_size=1)), requests))
    assert len({new for *_, new in expected}) > 3
    for size in (1, 3, 5, 16):
        sized = wrap(tiny_llama(), tokenizer, batch_size=size)
        read = tokens_read(sized)
        assert answers(generate(sized, requests)) == expected
        steps = sum(1 for count in read if count <= size)
        if size == 5:
            new = sorted((row[-1] for row in expected), reverse=True)
            in_turns = sum(max(new[at : at + size]) for at in range(0, len(new), size))
            assert steps < in_turns


@torch.inference_mode()
def test_rows_keep_what_they_read_when_batches_are_merged(model):
    """Logits, not text: the next ones of each row are those of its prompt alone, whatever rows it was joined with."""
    reader = Reader(model._model)
    long, short = [list(range(40, 70)), list(range(50, 75))], [list(range(90, 97)), list(range(90, 95)), [200, 201]]
    first, _ = reader.read(long, 0, room=3)
    second, _ = reader.read(short, 0, room=3)
    rows = merge([Part.of(first, [1]), Part.whole(second)], room=2)
    again = merge([Part.of(rows, [3, 0, 2, 0])], room=1)
    prompts = [short[2], long[1], short[1], long[1]]
    assert again.used == len(long[1]) and len(again) == 4
    found = reader.last_logits(again, torch.tensor([[7]] * 4), torch.tensor([[len(prompt)] for prompt in prompts]))
    for row, prompt in zip(found, prompts, strict=True):
        alone = model._model(input_ids=torch.tensor([[*prompt, 7]])).logits[0, -1]
        assert row.tolist() == pytest.approx(alone.tolist(), abs=1e-4)


def test_shared_beginnings_change_no_likelihood(model, tokenizer):
    options = (" A", " B", " warfarin and more", " No.")
    requests = [ChoiceRequest(head + text, options) for head in SHOTS for text in TEXTS]
    requests += [
        ChoiceRequest(SHOTS[0] + "Which drug?" * 9, (" vena cava", " A man")),
        ChoiceRequest(SHOTS[0], (" A", " B")),
    ]
    read = tokens_read(model)
    found = dict(model.loglikelihood(requests))
    # The heads, then each question, then what follows the first token of its options: nothing is read twice.
    own = [model.count_tokens(r.text) + sum(model.count_tokens(text) for text in r.continuations) for r in requests]
    heads = sum(model.count_tokens(head) for head in SHOTS)
    assert sum(read) < sum(own) / 2 and sum(read) >= heads
    asked = [Instance("loglikelihood", {}, (r.text, text), 0) for r in requests for text in r.continuations]
    theirs = iter([value for value, _ in lm_eval_of(tiny_llama(), tokenizer).loglikelihood(asked, disable_tqdm=True)])
    plain = dict(plainly(wrap(tiny_llama(), tokenizer)).loglikelihood(requests))
    assert sorted(found) == sorted(plain) == list(range(len(requests)))
    for index, request in enumerate(requests):
        expected = [next(theirs) for _ in request.continuations]
        assert found[index] == pytest.approx(expected, abs=1e-4)
        assert plain[index] == pytest.approx(expected, abs=1e-4)


def test_common_beginnings():
    assert common_length([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common_length([1, 2], [1, 2]) == 2
    assert common_length([1], [2]) == common_length([], [2]) == 0


def test_a_beginning_that_saves_next_to_nothing_is_no_head():
    """What comes after a head is read more slowly: a tenth of all tokens must be saved."""

    def heads(shared):
        return [group.head for group in group_by_head([[1] * shared + [2 + number] * 900 for number in range(2)])]

    assert heads(100) == [0] and heads(250) == [250]


def test_what_is_read_together_is_short_and_alike():
    def sizes(lengths, most):
        return [lengths[some] for some in alike(lengths, most)]

    assert sizes([700, 690, 680], 512) == [[700], [690], [680]]
    assert sizes([100, 99, 98, 97, 96, 95], 512) == [[100, 99, 98, 97, 96], [95]]
    # One more pass costs as much as reading 64 tokens: so many may be padding.
    assert sizes([90, 58], 512) == [[90, 58]] and sizes([90, 25], 512) == [[90], [25]]
    # Where much is read at once, an eighth of it may be.
    assert sizes([2000, 1900, 1800], 8192) == [[2000, 1900, 1800]] and sizes([2000, 1000], 8192) == [[2000], [1000]]
    assert sizes([5], 1) == [[5]] and alike([], 512) == []


def test_prompts_of_unlike_length_are_read_without_padding(tokenizer):
    def words(first, count):
        return " ".join(f"{first}{number}" for number in range(count))

    requests = [ask(words(*own), max_new_tokens=4) for own in (("a", 60), ("b", 2), ("c", 36))]
    one = wrap(tiny_llama(), tokenizer)
    alone = [generate(one, [request])[0] for request in requests]
    model = wrap(tiny_llama(), tokenizer)
    read = tokens_read(model)
    assert answers(generate(model, requests)) == answers(alone)
    lengths = sorted((response.prompt_tokens for response in alone), reverse=True)
    assert lengths[0] - 64 > lengths[1] and lengths[1] - 64 > lengths[2]
    assert read[:3] == lengths


# Draws


def draws(text, count, **settings):
    return [ask(text, temperature=4.0, seed=seed, **settings) for seed in range(count)]


@pytest.mark.parametrize("size", [1, 3, 8, 64])
def test_draws_of_a_prompt_are_those_of_its_requests_alone(tokenizer, size):
    """Whatever shares the batch, and however many draws have place in it."""
    one = wrap(tiny_llama(), tokenizer, batch_size=1)
    stop = tuple(response.text[3:4] for response in generate(one, draws(TEXTS[0], 2)))
    requests = [request for text in [*TEXTS, SHOTS[0] + TEXTS[1]] for request in draws(text, 5, stop=stop)]
    alone = [generate(one, [request])[0] for request in requests]
    assert len({response.text for response in alone[:5]}) > 2 and len({r.new_tokens for r in alone}) > 3
    assert answers(generate(wrap(tiny_llama(), tokenizer, batch_size=size), requests)) == answers(alone)


def test_draws_share_the_reading_of_their_prompt(tokenizer):
    model = wrap(tiny_llama(), tokenizer, batch_size=8)
    read = tokens_read(model)
    found = generate(model, draws(SHOTS[0], 8, max_new_tokens=1))
    assert read == [found[0].prompt_tokens]
    # With less place than draws only its last token is read anew.
    model = wrap(tiny_llama(), tokenizer, batch_size=3)
    read = tokens_read(model)
    generate(model, draws(SHOTS[0], 8, max_new_tokens=1))
    assert read == [found[0].prompt_tokens - 1, 1, 1, 1]


def test_draws_share_what_they_write_alike(tokenizer):
    """At a temperature near zero all draws are the greedy text, and cost what it costs."""
    costs = []
    for requests in ([ask(TEXTS[0])], [ask(TEXTS[0], temperature=1e-4, seed=seed) for seed in range(8)]):
        model = wrap(tiny_llama(), tokenizer, batch_size=8)
        read = tokens_read(model)
        found = generate(model, requests)
        assert {response.new_tokens for response in found} == {12}
        costs.append((read, {response.text for response in found}))
    assert costs[0] == costs[1]
    # And where they part, each is a row of its own.
    model = wrap(tiny_llama(), tokenizer, batch_size=8)
    read = tokens_read(model)
    generate(model, draws(TEXTS[0], 8))
    assert 1 < read[1] <= max(read[1:]) == 8


def test_draws_that_do_not_fit_memory_together_are_split(tokenizer):
    requests = draws(TEXTS[0], 8)
    expected = answers(generate(wrap(tiny_llama(), tokenizer, batch_size=8), requests))
    hungry = wrap(tiny_llama(HungryLlama), tokenizer, batch_size=8)
    hungry._model.room = 2 * (len(hungry._encoder.whole([TEXTS[0]])[0]) + 13)
    with pytest.warns(UserWarning, match="out of memory"):
        assert answers(generate(hungry, requests)) == expected


# Logits that are no numbers


class BrokenLlama(transformers.LlamaForCausalLM):
    """Its logits are `value` after any token of `after`: all of them, or those of token 7 and later."""

    after = frozenset()
    value = float("nan")
    all_of_them = False

    @functools.wraps(transformers.LlamaForCausalLM.forward)
    def forward(self, input_ids=None, **kwargs):
        output = super().forward(input_ids=input_ids, **kwargs)
        for row, ids in enumerate(input_ids[:, -output.logits.shape[1] :].tolist()):
            for position, token in enumerate(ids):
                if token in self.after:
                    output.logits[row, position, 0 if self.all_of_them else 7 :] = self.value
        return output


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error_of_their_sample_alone(tokenizer, path, value, temperature):
    requests = [ask(text, temperature=temperature) for text in TEXTS]
    plain = path(wrap(tiny_llama(), tokenizer))
    expected = generate(plain, requests)
    written = [plain._encoder.bare([response.text])[0] for response in expected]
    # One breaks with its prompt, another as it writes; what the others write does not depend on it.
    at_once = plain._encoder.whole(TEXTS)[1][-1]
    later = next(token for token in written[2][1:-1] if token not in {*written[0], *written[3], at_once})
    broken = path(wrap(tiny_llama(BrokenLlama), tokenizer))
    broken._model.after, broken._model.value, broken._model.all_of_them = {at_once, later}, value, value < 0
    found = generate(broken, requests)
    for response in found[1:3]:
        assert (response.text, response.finish_reason) == ("", "error")
        assert response.error.startswith(
            "the model's logits are NaN or infinite: where float16 overflows, dtype=bfloat16"
        )
    sound = [number for number in (0, 3) if at_once not in written[number]]
    assert sound and answers(found[number] for number in sound) == answers(expected[number] for number in sound)


def test_tokens_that_a_model_bars_are_no_error(tokenizer, path):
    barred = path(wrap(tiny_llama(BrokenLlama), tokenizer))
    barred._model.after, barred._model.value = set(range(320)), -float("inf")
    assert {response.error for response in generate(barred, [ask(text) for text in TEXTS])} == {None}


@pytest.mark.parametrize(("dtype", "is_error"), [("float16", True), ("bfloat16", False)])
def test_weights_that_overflow_in_float16_are_errors_in_a_run(saved, tmp_path, path, dtype, is_error, monkeypatch):
    """A whole run: neither text nor likelihood of such a model is scored; in bfloat16 both are."""
    weights = load_file(saved / "model.safetensors")
    folder = shutil.copytree(saved, tmp_path / "large")
    for name in ("model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight"):
        weights[name] = weights[name] * 3000
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    opened = HfModel.open
    monkeypatch.setattr(HfModel, "open", classmethod(lambda cls, name, values: path(opened(name, values))))
    for scoring in ("generate", "loglikelihood"):
        done = mibe.evaluate(
            model="hf",
            model_args={"pretrained": str(folder), "device": "cpu", "dtype": dtype, "max_length": "4096"},
            tasks="pubmedqa",
            limit=3,
            scoring=scoring,
            max_new_tokens=4,
            output_dir=tmp_path / scoring,
        )
        rows = list(read_rows(done.path / "samples/pubmedqa.jsonl"))
        assert len(rows) == 3
        for row in rows:
            assert (row["outcome"] == "error") == is_error
            assert ("NaN or infinite" in (row["error"] or "")) == is_error
            assert not (is_error and row["scores"])


def test_likelihoods_that_are_no_numbers_in_an_older_log_are_no_answer():
    task = load_task("pubmedqa")
    example = next(iter(examples(task, "test")))
    assert judge_likelihoods(task, example, [-9.0, -1.0, -9.0])["prediction"] == "no"
    for value in (float("nan"), float("inf"), -float("inf")):
        row = judge_likelihoods(task, example, [-9.0, value, -9.0])
        assert (row["prediction"], row["outcome"], row["scores"]) == (None, Outcome.ERROR, {})


def test_heads_are_those_that_save_the_most():
    trunk, first, second = [1] * 40, [2] * 300, [3] * 300
    prompts = [
        [*trunk, *first, 7],
        [*trunk, *second, 7, 7, 7],
        [*trunk, *first, 8, 8],
        [*trunk, 9],
        [*trunk, *second, 8],
        [4, 5],
        [*trunk, *first, 8, 8],
    ]
    found = [(group.head, group.members) for group in group_by_head(prompts)]
    assert found == [(0, [5]), (40, [3]), (340, [1, 4]), (340, [2, 6, 0])]
    assert [number for group in group_by_head([]) for number in group.members] == []
    # What two prompts share is not read apart when that saves next to nothing.
    assert [(g.head, g.members) for g in group_by_head([[1, 2, 3], [1, 2, 4, 4]])] == [(0, [1, 0])]


def test_models_that_forget_share_up_to_their_window(tokenizer):
    def mistral(window):
        config = transformers.MistralConfig(
            vocab_size=320, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, sliding_window=window, initializer_range=0.6, max_position_embeddings=256,
        )  # fmt: skip
        torch.manual_seed(3)
        return transformers.MistralForCausalLM(config).eval()

    assert plain_cache_limit(tiny_llama()) > 10**9
    assert plain_cache_limit(mistral(90)) == 90
    requests = [ask(SHOTS[0][: 70 * number] + text) for number in range(4) for text in TEXTS]
    choices = [ChoiceRequest(request.text, (" A", " No.")) for request in requests]
    with_window, without = wrap(mistral(60), tokenizer), plainly(wrap(mistral(60), tokenizer))
    lengths = [with_window.count_tokens(request.text) + 12 for request in requests]
    assert min(lengths) < 60 < max(lengths)
    assert answers(generate(with_window, requests)) == answers(generate(without, requests))
    for some in (choices, choices[:4]):
        found, expected = dict(with_window.loglikelihood(some)), dict(without.loglikelihood(some))
        assert all(found[index] == pytest.approx(expected[index], abs=1e-4) for index in range(len(some)))
    assert answers(generate(wrap(mistral(None), tokenizer), requests)) != answers(generate(without, requests))


def test_recurrent_models_share_nothing(tokenizer):
    config = transformers.MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=4, eos_token_id=1)
    torch.manual_seed(2)
    mamba = wrap(transformers.MambaForCausalLM(config).eval(), tokenizer)
    assert mamba._reader.limit == 0
    responses = generate(mamba, [ask(text) for text in TEXTS])
    assert [response.error for response in responses] == [None] * 4
    assert sorted(dict(mamba.loglikelihood([ChoiceRequest(text, (" A",)) for text in TEXTS]))) == [0, 1, 2, 3]


# Prompts


def test_the_beginning_token_stands_once(tokenizer):
    turns = (Message(role="user", content="Which drug?"),)
    chat, plain = wrap(tiny_llama(), tokenizer, chat=True), wrap(tiny_llama(), tokenizer)
    rendered = chat.render(turns)
    assert rendered == "<s><|user|>Which drug?<|im_end|><|assistant|>"
    assert plain.render(turns) == "Which drug?"
    for model, text in ((chat, rendered), (plain, "Which drug?"), (plain, "<s>Which drug?")):
        (ids,) = model._encoder.whole([text])
        assert ids.count(0) == 1 and ids[0] == 0
        assert model.count_tokens(text) == len(ids)
    # A template that does without is taken at its word.
    assert 0 not in chat._encoder.whole(["<|user|>Which drug?"])[0]


def test_a_chat_ends_with_its_turn_whatever_the_configuration_says(tokenizer):
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert wrap(tiny_llama(), tokenizer, chat=True)._end_tokens == [1, end]
    assert wrap(tiny_llama(), tokenizer)._end_tokens == [1]


# Folders


def test_a_folder_is_loaded_and_says_what_it_is(saved, capfd):
    model = load(saved)
    assert (model.name, model.is_chat, model.is_remote, model.context_window) == ("tiny-llama", True, False, 256)
    assert model.device_memory_peak() is None
    assert generate(model, [ask("<s>No.")])[0].new_tokens == 12
    plain = load(saved, chat_template="off", max_length="64")
    assert (plain.is_chat, plain.context_window) == (False, 64)
    assert capfd.readouterr().err == ""
    model.close()


def test_identity_is_content_and_settings(saved, folder):
    one = load(saved).identity
    assert load(folder, batch_size="2").identity == one
    assert json.loads(json.dumps(one)) == one
    others = [
        load(saved, dtype="bfloat16").identity,
        load(saved, chat_template="off").identity,
        load(saved, max_length="64").identity,
    ]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-4}))
    others.append(load(folder).identity)
    assert len({json.dumps(i, sort_keys=True) for i in [one, *others]}) == 5


def test_a_hash_is_remembered_until_the_file_changes(tmp_path, own_folders):
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    first = file_sha256(file)
    (note,) = (own_folders / "cache" / "hashes").iterdir()
    note.write_text("0" * 64)
    assert file_sha256(file) == "0" * 64
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert file_sha256(file) not in (first, "0" * 64)
    with pytest.raises(ModelError, match="cannot read"):
        file_sha256(tmp_path / "missing")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (("model.safetensors",), "holds no weights"),
        (("config.json",), r"holds no config\.json"),
        (("tokenizer.json", "tokenizer_config.json"), "holds no tokenizer"),
    ],
)
def test_an_incomplete_folder_says_what_is_missing(folder, missing, says):
    for name in missing:
        (folder / name).unlink()
    with pytest.raises(ModelError, match=says):
        load(folder)


def test_an_adapter_given_as_a_model_says_where_it_goes(folder):
    (folder / "config.json").rename(folder / "adapter_config.json")
    with pytest.raises(ModelError, match="an adapter goes into peft="):
        load(folder)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no/such", "runs/model/checkpoint-5"])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(ModelError, match="there is no such folder"):
        load(name)


def test_a_file_is_not_a_folder(saved):
    with pytest.raises(ModelError, match="is a file; give the folder"):
        load(saved / "model.safetensors")
    with pytest.raises(ModelError, match="peft=/no/adapter: there is no such folder"):
        load(saved, peft="/no/adapter")


def test_spoilt_files_are_one_line(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot load") as caught:
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot load") as also:
        load(folder)
    assert "\n" not in str(caught.value) + str(also.value)


def test_missing_weights_are_not_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights of its model \(model\.layers\.1\.mlp\.up_proj\.weight\)"):
        load(folder)
    assert untrained_weights(["A harmless warning"]) == ""


def test_a_device_that_is_not_there(saved):
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ModelError, match="CUDA devices that torch can use"):
        load_model("hf", {"pretrained": str(saved), "device": missing})


def test_a_hub_out_of_reach_is_one_line(tmp_path):
    code = "from mibe.models import load_model; load_model('hf', {'pretrained': 'nobody/nothing', 'device': 'cpu'})"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mibe.errors.ModelError: cannot load nobody/nothing: ")


def test_without_the_extra_the_error_names_it(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "mibe.models.hf.model", None)
    with pytest.raises(ModelError, match=r'pip install "mibe\[hf\]"'):
        load(saved)


@pytest.fixture
def adapter(tokenizer, tmp_path):
    """Folders of a base model, a LoRA adapter with weights of its own, and the base model with it merged in."""
    peft = pytest.importorskip("peft")
    folders = {name: tmp_path / name for name in ("base", "adapter", "merged")}
    # No spare rows in the vocabulary: lm-eval cuts them off a model with an adapter, and with them their probability.
    base = tiny_llama(vocab_size=len(tokenizer))
    base.save_pretrained(folders["base"])
    torch.manual_seed(5)
    config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, r=4, target_modules="all-linear")
    adapted = peft.get_peft_model(base, config)
    adapted.save_pretrained(folders["adapter"])
    adapted.merge_and_unload().save_pretrained(folders["merged"])
    for name in ("base", "merged"):
        tokenizer.save_pretrained(folders[name])
    return folders


def test_an_adapter_gives_what_the_merged_model_gives(adapter):
    base, whole = load(adapter["base"]), load(adapter["merged"])
    tuned = load(adapter["base"], peft=str(adapter["adapter"]))
    assert base.identity != tuned.identity
    assert tuned._reader.limit > 10**9
    requests = [ask(head + text) for head in ("", SHOTS[0]) for text in TEXTS]
    assert answers(generate(tuned, requests)) == answers(generate(whole, requests)) != answers(generate(base, requests))
    choices = [ChoiceRequest(request.text, (" A", " vena cava")) for request in requests]
    found, expected, other = (dict(model.loglikelihood(choices)) for model in (tuned, whole, base))
    for index, values in expected.items():
        assert found[index] == pytest.approx(values, abs=1e-4)
        assert other[index] != pytest.approx(values, abs=1e-2)


def test_learned_prompts_run_without_sharing(saved, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    peft.get_peft_model(tiny_llama(), config).save_pretrained(tmp_path / "prompt")
    tuned = load(saved, peft=str(tmp_path / "prompt"))
    assert tuned._reader.limit == 0
    requests = [ask(SHOTS[0] + text) for text in TEXTS]
    assert [response.error for response in generate(tuned, requests)] == [None] * 4
    with pytest.raises(ModelError, match="generation alone"):
        list(tuned.loglikelihood([ChoiceRequest("q", ("A",))]))


def test_a_device_map_is_followed(saved):
    mapped = load(saved, device_map="auto", max_cpu_memory="4GiB")
    requests = [ask(SHOTS[0] + text) for text in TEXTS]
    assert answers(generate(mapped, requests)) == answers(generate(load(saved), requests))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_shares_as_well(saved, dtype):
    model = load(saved, dtype=dtype)
    requests = [ask(SHOTS[0] + text) for text in TEXTS]
    shared = generate(model, requests)
    alone = generate(plainly(load(saved, dtype=dtype)), requests)
    # Rounding differs with the shape of a batch, so a text may part from its other self; the prompts do not.
    assert [r.prompt_tokens for r in shared] == [r.prompt_tokens for r in alone]
    assert sum(a.text == b.text for a, b in zip(shared, alone, strict=True)) >= 2
    scores = dict(model.loglikelihood([ChoiceRequest(r.text, (" A", " No.")) for r in requests]))
    exact = dict(load(saved).loglikelihood([ChoiceRequest(r.text, (" A", " No.")) for r in requests]))
    assert all(scores[index] == pytest.approx(exact[index], rel=0.1, abs=0.5) for index in exact)


@pytest.mark.parametrize("argument", ["load_in_4bit", "load_in_8bit"])
def test_quantisation_that_cannot_be_is_told_before_anything_is_loaded(saved, argument, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"pip install bitsandbytes"):
        load(saved, **{argument: "true"})
    # Not even a look at the model.
    with pytest.raises(ModelError, match=r"pip install bitsandbytes"):
        load_model("hf", {"pretrained": "nobody/nothing", argument: "true"})


def test_quantised_weights_give_text(saved):
    pytest.importorskip("bitsandbytes")
    model = load(saved, load_in_8bit="true")
    requests = [ask(SHOTS[0] + text) for text in TEXTS]
    assert [response.error for response in generate(model, requests)] == [None] * 4
