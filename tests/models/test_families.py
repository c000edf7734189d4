"""Each family of models by a tiny one of its form: runs through `hf`, and of three families through vLLM's engine."""

import functools

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from families import FAMILIES, SYSTEM, TASK, budget_of, prompt_of, save_family, tokenizer_of
from reasoning_forms import THOUGHT

import mibe
from mibe.errors import UsageError
from mibe.models import load_model
from mibe.results.log import latest_rows

NAMES = list(FAMILIES)
REASONING = [name for name in NAMES if FAMILIES[name].reasons]
SWITCHED = [name for name in NAMES if FAMILIES[name].off]


class Heard(mibe.Silent):
    def __init__(self):
        self.lines = []

    def message(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    return functools.cache(lambda name: save_family(name, tmp_path_factory.mktemp("family") / "tiny"))


@pytest.fixture(scope="module")
def hf(folder_of):
    return functools.cache(lambda name: load_model("hf", {"pretrained": str(folder_of(name)), "device": "cpu"}))


def run(model, tmp_path, **settings):
    """The rows of a run over the task's first document, and what was said of reasoning before it."""
    heard = Heard()
    asked = {"tasks": TASK, "limit": 1, "resamples": 20, "use_cache": False, "output_dir": tmp_path} | settings
    done = mibe.evaluate(model=model, progress=heard, **asked)
    rows = list(latest_rows(done.path / "samples" / f"{TASK}.jsonl"))
    return rows, [line for line in heard.lines if "reason" in line]


def answer_in(row):
    return row["output"][row.get("answer_at", 0) :].strip()


# hf


@pytest.mark.parametrize("name", NAMES)
def test_a_run_reads_the_answer_and_nothing_before_or_behind_it(name, folder_of, tmp_path):
    family = FAMILIES[name]
    args = {"pretrained": str(folder_of(name)), "device": "cpu"}
    (row,), lines = run("hf", tmp_path, model_args=args, **family.settings)
    assert (answer_in(row), row["prediction"], row["outcome"]) == ("no", "no", "parsed")
    assert row["finish_reason"] == "stop" and not row.get("budget_cut")
    assert row["output"].strip() == f"{family.written}no"
    assert ("reasoning_tokens" in row) == family.reasons
    if family.known:
        assert f"tiny reasons ({family.known})" in lines[0]
    else:
        assert any("tiny has room to reason" in line for line in lines) == family.reasons


@pytest.mark.parametrize("name", [name for name in NAMES if FAMILIES[name].template])
def test_a_turn_ends_where_its_template_says(name, hf):
    family = FAMILIES[name]
    tokens = hf(name)._tokenizer.convert_ids_to_tokens(hf(name)._end_tokens)
    assert family.end.endswith(tuple(tokens))
    opening = {"<|start|>", "<|end|>", "<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "[/THINK]"}
    assert not opening & set(tokens)


@pytest.mark.parametrize("name", [name for name in NAMES if FAMILIES[name].takes_system])
def test_a_system_prompt_stands_once_in_the_prompt(name):
    assert prompt_of(tokenizer_of(FAMILIES[name]), system_prompt=SYSTEM).count(SYSTEM) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if not FAMILIES[name].takes_system])
def test_a_system_prompt_is_refused_where_the_template_has_no_place(name, hf, tmp_path):
    with pytest.raises(UsageError, match="has no place for a system prompt"):
        run(hf(name), tmp_path, system_prompt=SYSTEM)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_worked_examples_are_turns_that_the_template_takes(name):
    tokenizer = tokenizer_of(FAMILIES[name])
    assert prompt_of(tokenizer, num_fewshot=2).count("OUTPUT:") == 3 * prompt_of(tokenizer).count("OUTPUT:")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SWITCHED])
def test_thinking_is_refused_where_there_is_no_switch(name, hf, tmp_path):
    with pytest.raises(UsageError, match="no switch for thinking; leave out --thinking"):
        run(hf(name), tmp_path, thinking="off")


@pytest.mark.parametrize("name", SWITCHED)
def test_thinking_is_switched_on_and_off(name, hf, tmp_path):
    family, tokenizer = FAMILIES[name], tokenizer_of(FAMILIES[name])
    assert prompt_of(tokenizer, **family.on) != prompt_of(tokenizer, **family.off)
    on, _ = run(hf(name), tmp_path / "on", **family.on)
    assert on[0]["reasoning_tokens"] > len(THOUGHT)
    if family.closed:
        off, lines = run(hf(name), tmp_path / "off", **family.off)
        assert off[0]["output"] == f"{family.begins}no" and answer_in(off[0]) == off[0]["prediction"] == "no"
        assert not lines
        # A model that is used again does not keep the switches of the run before.
        again, _ = run(hf(name), tmp_path / "again", **family.on)
        assert again[0]["output"] == on[0]["output"]


@pytest.mark.parametrize("name", REASONING)
def test_a_reasoning_that_is_cut_gives_no_prediction_unless_it_is_closed(name, hf, tmp_path):
    family = FAMILIES[name]
    settings = family.settings | {"thinking_budget": budget_of(family, tokenizer_of(family))}
    (row,), _ = run(hf(name), tmp_path, **settings)
    assert "yes" in row["output"] and row["answer_at"] is None
    assert (row["prediction"], row["outcome"], row["budget_cut"]) == (None, "truncated", True)
    (row,), _ = run(hf(name), tmp_path, **settings, at_budget="close")
    assert (answer_in(row), row["prediction"], row["budget_cut"]) == ("no", "no", True)


def test_effort_is_a_line_of_the_system_turn(hf, tmp_path):
    tokenizer = tokenizer_of(FAMILIES["gpt-oss"])
    assert "Reasoning: low" in prompt_of(tokenizer, reasoning_effort="low")
    assert "Reasoning: medium" in prompt_of(tokenizer)
    with pytest.raises(UsageError, match="has no switch for --reasoning-effort"):
        run(hf("Llama 3"), tmp_path, reasoning_effort="low")


@pytest.mark.parametrize("name", ["DeepSeek-R1", "Qwen 3.5", "OLMo 3 Think"])
def test_likelihoods_inside_a_reasoning_are_refused(name, hf, tmp_path):
    with pytest.raises(UsageError, match=r"inside its reasoning \(its prompt ends in <think>\)") as raised:
        run(hf(name), tmp_path, scoring="loglikelihood")
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())
    assert ("add --thinking off" in str(raised.value)) == (name in SWITCHED)


def test_likelihoods_after_a_reasoning_that_is_closed_and_empty(hf, tmp_path):
    (row,), lines = run(hf("Qwen 3.5"), tmp_path, scoring="loglikelihood", thinking="off")
    assert row["prediction"] == "no" and not lines


# vLLM

ENGINE = {"dtype": "float32", "kv_cache_memory_bytes": "256M", "enforce_eager": "true", "max_num_seqs": "16"}


@pytest.fixture(scope="module", params=["Qwen 3.5", "gpt-oss", "Llama 3"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def served(family, folder_of):
    """A model in vLLM's engine; one that reasons in Qwen's form has vLLM's own parser of it."""
    pytest.importorskip("vllm")
    parser = {"reasoning_parser": "deepseek_r1"} if family == "Qwen 3.5" else {}
    opened = load_model("vllm", {"pretrained": str(folder_of(family)), **ENGINE, **parser})
    yield opened
    opened.close()


@pytest.mark.vllm
def test_vllm_reads_what_hf_reads(family, served, hf, tmp_path):
    settings = FAMILIES[family].settings
    ours, lines = run(served, tmp_path / "vllm", **settings)
    theirs, others = run(hf(family), tmp_path / "hf", **settings)
    assert (answer_in(ours[0]), ours[0]["prediction"]) == ("no", "no")
    facts = ("output", "answer_at", "finish_reason", "prompt_tokens", "new_tokens", "reasoning_tokens", "budget_cut")
    assert [ours[0].get(fact) for fact in facts] == [theirs[0].get(fact) for fact in facts]
    assert lines == others


@pytest.mark.vllm
def test_vllm_keeps_to_the_room_to_think_and_closes_it(family, served, hf, tmp_path):
    form = FAMILIES[family]
    if not form.reasons:
        pytest.skip("it does not reason")
    settings = form.settings | {"thinking_budget": budget_of(form, tokenizer_of(form))}
    (cut,), _ = run(served, tmp_path / "cut", **settings)
    assert "yes" in cut["output"] and cut["answer_at"] is None
    assert (cut["prediction"], cut["outcome"], cut["budget_cut"]) == (None, "truncated", True)
    (closed,), _ = run(served, tmp_path / "closed", **settings, at_budget="close")
    assert (answer_in(closed), closed["prediction"], closed["budget_cut"]) == ("no", "no", True)
    assert closed["reasoning_tokens"] <= settings["thinking_budget"]
    (same,), _ = run(hf(family), tmp_path / "hf", **settings, at_budget="close")
    assert (closed["output"], closed["new_tokens"]) == (same["output"], same["new_tokens"])


@pytest.mark.vllm
def test_vllm_switches_thinking_off(family, served, tmp_path):
    if FAMILIES[family].off is None:
        with pytest.raises(UsageError, match="no switch for thinking"):
            run(served, tmp_path, thinking="off")
        return
    (row,), lines = run(served, tmp_path / "off", thinking="off")
    assert (row["output"], row["prediction"]) == ("no", "no") and not lines
    (row,), _ = run(served, tmp_path / "likelihoods", thinking="off", scoring="loglikelihood")
    assert row["prediction"] == "no"
    with pytest.raises(UsageError, match="inside its reasoning"):
        run(served, tmp_path / "open", scoring="loglikelihood")


@pytest.mark.vllm
def test_vllm_draws_by_temperature_and_seed(family, served, tmp_path):
    settings = FAMILIES[family].settings | {"temperature": 2.0, "repeats": 3, "thinking_budget": 40}
    first, again = (run(served, tmp_path / where, **settings)[0] for where in ("first", "again"))
    other, _ = run(served, tmp_path / "other", **settings, seed=7)
    texts = [[row["output"] for row in rows] for rows in (first, again, other)]
    assert len(set(texts[0])) == 3 and texts[0] == texts[1] != texts[2]
    rows, _ = run(served, tmp_path / "sure", **(FAMILIES[family].settings | {"temperature": 0.1, "repeats": 2}))
    assert [row["prediction"] for row in rows] == ["no", "no"]


@pytest.mark.vllm
def test_vllm_constrains_answers_where_it_can_tell_them_from_reasoning(family, served, tmp_path):
    if family == "gpt-oss":
        with pytest.raises(UsageError, match="cannot do --constrain"):
            run(served, tmp_path, constrain=True)
        return
    if family == "Llama 3":
        # At this temperature a free model writes anything.
        rows, _ = run(served, tmp_path, constrain=True, temperature=2.0, repeats=4)
    else:
        # Its reasoning is free, and is closed or left out as it is without.
        budget = {"thinking_budget": budget_of(FAMILIES[family], tokenizer_of(FAMILIES[family])), "at_budget": "close"}
        ways = {"free": {}, "closed": budget, "off": {"thinking": "off"}}
        rows = [run(served, tmp_path / way, constrain=True, **settings)[0][0] for way, settings in ways.items()]
        assert rows[0]["output"].startswith(THOUGHT) and rows[1]["budget_cut"] and rows[2]["answer_at"] == 0
    assert {answer_in(row) for row in rows} <= {"yes", "no", "maybe"}
    assert all(row["prediction"] == answer_in(row) for row in rows)
