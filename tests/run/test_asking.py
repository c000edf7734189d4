"""How a run asks and how its text is generated: settings checked, recorded, keyed, held against what a model can do."""

import dataclasses
import hashlib
import json

import pytest
from scripted import Scripted

import mibe
from mibe import protocols
from mibe.analysis.rescore import rescore
from mibe.cli import options
from mibe.cli.main import main, parser
from mibe.cli.showing import show
from mibe.data import store
from mibe.errors import ModelError, UsageError
from mibe.leaderboard.board import leaderboard
from mibe.leaderboard.consistency import why_not
from mibe.leaderboard.runs import read_results
from mibe.models import load_model
from mibe.models.arguments import parse_template_args
from mibe.models.reasoning import Reasoning
from mibe.parsers.outcome import read
from mibe.prompting import layout
from mibe.prompting.layout import plain_text
from mibe.protocols.styles import SENTENCE
from mibe.registry import load_task
from mibe.report.page import facts
from mibe.report.prompts import documents_of
from mibe.results.cache import ResponseCache, cache_path
from mibe.results.folder import read_record
from mibe.results.log import read_rows
from mibe.run import settings as fields
from mibe.run.documents import Documents
from mibe.run.settings import Settings, changes_of, style_of
from mibe.task import Outcome, Prediction


class Able(Scripted):
    """A scripted model that can do what sampling there is, and keeps the sampling of each request."""

    can = frozenset({"temperature", "top_p", "top_k", "min_p", "seed", "constrain"})

    def __init__(self, answer=lambda _: "yes", **how):
        super().__init__(answer, **how)
        self.samplings = []

    def generate(self, requests):
        self.samplings += [request.sampling for request in requests]
        return super().generate(requests)


class Switched(Able):
    """A chat model with a template that has switches."""

    is_chat = True
    can = Able.can | {"chat_template_args", "reasoning_effort"}
    template_switches = frozenset({"thinking", "reasoning_effort", "depth"})

    def use_template_args(self, args):
        self.args = dict(args)

    def render(self, messages):
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + json.dumps(getattr(self, "args", {}))


def run(model, tmp_path, **settings):
    return mibe.evaluate(
        model=model, output_dir=tmp_path / "runs", **{"limit": 6, "resamples": 20, "tasks": "pubmedqa"} | settings
    )


def record_of(done):
    return read_record(done.path)


# Settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": -0.1}, "--temperature -0.1 is out of range; it is a number from 0"),
        ({"temperature": float("nan")}, "--temperature nan is out of range"),
        ({"temperature": 2.1}, "--temperature 2.1 is out of range"),
        ({"temperature": 1, "top_p": 0}, "--top-p 0 is out of range; it is a share above 0"),
        ({"temperature": 1, "top_p": 1.1}, "--top-p 1.1 is out of range"),
        ({"temperature": 1, "top_k": 0}, "--top-k 0 is out of range"),
        ({"temperature": 1, "min_p": 2}, "--min-p 2 is out of range"),
        ({"top_p": 0.9}, "--top-p does nothing to greedy text; give a --temperature above 0"),
        ({"temperature": 0, "top_k": 5, "generation": "model"}, "--top-k does nothing to greedy text"),
        ({"generation": "greedy", "temperature": 0.5}, "--generation greedy leaves nothing to --temperature"),
        ({"generation": "beam"}, "unknown generation 'beam'; known: auto, greedy, model"),
        ({"thinking": "yes"}, "unknown thinking 'yes'; known: auto, on, off"),
        ({"prompt_style": "tree"}, "unknown prompt style 'tree'; known: direct, cot"),
        ({"repeats": 0}, "--repeats 0 is out of range"),
        ({"system_prompt": " \n"}, "--system-prompt is empty"),
        ({"constrain": True, "prompt_style": "cot"}, "--constrain leaves no room for what --prompt-style cot asks for"),
        ({"repeats": 2, "scoring": "loglikelihood"}, "--repeats does nothing to likelihoods"),
        ({"temperature": 0.7, "scoring": "loglikelihood"}, "--temperature does nothing to likelihoods"),
        ({"constrain": True, "scoring": "loglikelihood"}, "--constrain is for text"),
        ({"prompt_style": "cot", "scoring": "loglikelihood"}, "--prompt-style cot is for text"),
        (
            {"prompt_style": "cot", "protocol": "paper"},
            "the protocol paper asks as the released code did; leave out --prompt-style",
        ),
        (
            {"constrain": True, "protocol": "paper"},
            "the protocol paper asks as the released code did; leave out --constrain",
        ),
    ],
)
def test_a_setting_that_is_out_of_range_or_does_nothing_is_one_line(given, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")) as raised:
        Settings(**given)
    assert "\n" not in str(raised.value)


def test_what_a_run_does_without_leaves_its_fingerprint_and_its_cache_key_as_they_were(tmp_path):
    model = Able()
    done = run(model, tmp_path)
    # As the first versions hashed them: every field that they had, and no other.
    old = {
        "num_fewshot": 0, "limit": 6, "split": "test", "scoring": "generate", "seed": 1234, "max_new_tokens": None,
        "fewshot_per_document": False, "resamples": 20, "protocol": "default", "bertscore": None, "shard": None,
    }  # fmt: skip
    part = done.record["tasks"]["pubmedqa"]
    tasks = [["pubmedqa", part["version"], part["prompt_template_sha256"], part["data"]["sha256"]]]
    content = json.dumps([model.identity, tasks, old], sort_keys=True)
    assert done.record["fingerprint"] == hashlib.sha256(content.encode()).hexdigest()
    example = next(iter(Documents.select(load_task("pubmedqa"), "test", 6, 1234)))
    text = plain_text(load_task("pubmedqa").prompt, (), example)
    sampling = {"max_new_tokens": 64, "stop": ["\n\nINPUT:"], "temperature": 0.0, "seed": 1234}
    asked = [model.identity, text, sampling]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
    cache = ResponseCache(cache_path())
    assert cache.get([key])[key]["response"]["text"] == "yes"
    cache.close()


def test_every_new_setting_makes_another_run(tmp_path):
    first = run(Switched(), tmp_path)
    changes = [
        {"temperature": 0.7}, {"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_k": 9},
        {"temperature": 0.7, "min_p": 0.1}, {"generation": "greedy"}, {"system_prompt": "Be brief."},
        {"thinking": "off"}, {"reasoning_effort": "low"}, {"chat_template_args": {"depth": 3}},
        {"prompt_style": "cot"}, {"constrain": True},
    ]  # fmt: skip
    prints = {first.record["fingerprint"]}
    for given in changes:
        done = run(Switched(), tmp_path, **given)
        assert given.items() <= done.record["settings"].items()
        prints.add(done.record["fingerprint"])
        cached = done.record["tasks"]["pubmedqa"]["timing"]["from_cache"]
        assert cached == (6 if given == {"generation": "greedy"} else 0), given
    assert len(prints) == len(changes) + 1


def test_settings_reach_every_request_and_the_record(tmp_path):
    model = Able()
    done = run(model, tmp_path, temperature=0.7, top_p=0.9, top_k=20, min_p=0.05)
    assert {(s.temperature, s.top_p, s.top_k, s.min_p) for s in model.samplings} == {(0.7, 0.9, 20, 0.05)}
    assert record_of(done)["generation"] == {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.05}
    greedy = Able()
    run(greedy, tmp_path, use_cache=False)
    assert {(s.temperature, s.top_p, s.top_k, s.min_p, s.allowed) for s in greedy.samplings} == {(0, 1, 0, 0, ())}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": 0.7}, "scripted cannot do --temperature; leave it out"),
        ({"constrain": True}, "scripted cannot do --constrain; leave it out"),
        ({"thinking": "on"}, "the chat template of scripted has no switch for thinking"),
        ({"reasoning_effort": "low"}, "scripted has no switch for --reasoning-effort"),
        ({"chat_template_args": {"a": 1}}, "scripted has no chat template whose switches could be set"),
        ({"generation": "model"}, "scripted has no generation settings that can be read here"),
    ],
)
def test_what_a_model_cannot_do_is_one_line_before_anything_is_asked(tmp_path, given, said):
    model = Scripted(lambda _: "yes")
    with pytest.raises(UsageError, match=said):
        run(model, tmp_path, **given)
    assert model.asked == [] and not (tmp_path / "runs").exists()
    assert "temperature" not in load_model("dummy").can


def test_a_function_makes_its_text_as_it_likes(tmp_path):
    with pytest.raises(UsageError, match="cannot do --temperature"):
        run(lambda prompts: ["yes"] * len(prompts), tmp_path, temperature=1.0)


def test_the_checkpoints_own_settings_and_advice_for_a_model_that_reasons(tmp_path):
    told = []

    class Told(mibe.Silent):
        def message(self, text):
            told.append(text)

    model = Able()
    model.recommended = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05}
    done = run(model, tmp_path, generation="model", top_k=7, progress=Told())
    assert record_of(done)["generation"] == {"temperature": 0.6, "top_p": 0.95, "top_k": 7, "min_p": 0.0}
    assert record_of(done)["settings"]["temperature"] is None and record_of(done)["settings"]["generation"] == "model"
    assert {(s.temperature, s.top_p, s.top_k) for s in model.samplings} == {(0.6, 0.95, 7)}
    assert "scripted is sampled as its checkpoint says: temperature 0.6, top_p 0.95, top_k 7" in told
    assert "the checkpoint's repetition_penalty 1.05 is not taken over" in told
    told.clear()
    run(model, tmp_path, progress=Told())
    assert not any("recommend" in line for line in told)
    model.reasoning = Reasoning("think", False, "its chat template knows <think>")
    run(model, tmp_path, use_cache=False, progress=Told())
    assert any("its makers recommend temperature 0.6, top_p 0.95" in line and "is greedy" in line for line in told)
    model.recommended = None
    with pytest.raises(UsageError, match="recommends no sampling"):
        run(model, tmp_path, generation="model")
    run(model, tmp_path, repeats=1, progress=Told())


# Template switches and the system prompt


def test_switches_by_the_names_that_the_template_has(tmp_path):
    model = Switched()
    done = run(model, tmp_path, thinking="off", reasoning_effort="low", chat_template_args={"depth": 3})
    assert model.args == {"depth": 3, "thinking": False, "reasoning_effort": "low"}
    assert (
        '{"depth": 3, "thinking": false, "reasoning_effort": "low"}' in done.record["tasks"]["pubmedqa"]["first_prompt"]
    )
    with pytest.raises(UsageError, match="unknown switch of the chat template of scripted: 'dept'; did you mean depth"):
        run(model, tmp_path, chat_template_args={"dept": 3})


def test_a_system_prompt_is_a_turn_or_the_first_lines(tmp_path):
    prompt = dataclasses.replace(load_task("pubmedqa").prompt, system="You are careful.")
    example = next(iter(Documents.select(load_task("pubmedqa"), "test", 1, 1234)))
    system, user = layout(prompt, (), example, chat=True)
    assert system == {"role": "system", "content": "You are careful."} and user["role"] == "user"
    plain = run(Scripted(lambda _: "yes"), tmp_path, system_prompt="You are careful.")
    shown = plain.record["tasks"]["pubmedqa"]["first_prompt"]
    assert shown.startswith("You are careful.\n\nYour task is to answer biomedical questions")
    chat = run(Switched(), tmp_path, system_prompt="You are careful.")
    shown = chat.record["tasks"]["pubmedqa"]["first_prompt"]
    assert shown.startswith("<system>You are careful.<user>Your task is to answer")
    assert "You are careful.\n\nYour task" in show(
        "pubmedqa", 0, model="dummy", model_args={}, system_prompt="You are careful."
    )
    for done in (plain, chat):
        rows = list(read_rows(done.path / "samples" / "pubmedqa.jsonl"))
        documents = documents_of("pubmedqa", read_record(done.path), rows)
        assert all(documents.prompt(row)[0].count("You are careful.") == 1 for row in rows)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_template_without_a_system_turn_is_one_line(tmp_path, refuses):
    class Gemma(Switched):
        def render(self, messages):
            if refuses and messages[0]["role"] == "system":
                raise ModelError("System role not supported")
            return "".join(m["content"] for m in messages if m["role"] == "user")

    model = Gemma()
    with pytest.raises(UsageError, match="the chat template of scripted has no place for a system prompt"):
        run(model, tmp_path, system_prompt="You are careful.")
    assert model.asked == []
    run(model, tmp_path)


# Chain of thought


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("The trial found no effect.\nAnswer: no", "no"),
        ("It is yes at first sight.\n\n**Answer:** maybe", "maybe"),
        ("Reasons…\nThe final answer is: yes.", "yes"),
        ("Answer: yes\nBut on second thought the groups differ.\nAnswer: no", "no"),
        ("So, the answer is **no**.", "no"),
        ("One might say the answer is yes. But the", None),
        ("yes", "yes"),
        ("Yes, the answer is yes.", "yes"),
        ("The drug helped. It could be yes. The authors say no", None),
        ("Answer:", None),
        ("", None),
    ],
)
def test_the_stated_answer_line_is_what_is_read(said, value):
    task = protocols.in_style("cot", load_task("pubmedqa"))
    assert task.parser(said) == value


def test_a_thought_that_was_cut_off_has_no_answer_but_a_stated_line():
    parser = protocols.in_style("cot", load_task("pubmedqa")).parser
    assert read("Yes, the answer is yes. The study", "length", parser) == Prediction(None, Outcome.TRUNCATED)
    assert read("It is small.\nAnswer: no\nThe study", "length", parser) == Prediction("no", Outcome.PARSED)


def test_a_list_after_the_answer_line_is_read_whole():
    task = protocols.in_style("cot", load_task("hoc"))
    said = "The abstract is about apoptosis.\nAnswer: resisting cell death; cellular energetics"
    assert sorted(task.parser(said)) == ["cellular energetics", "resisting cell death"]


def test_chain_of_thought_is_the_papers_prompt_one_sentence_and_room(tmp_path):
    direct, cot = Able(), Able(lambda _: "The groups differ, so yes.\nAnswer: no")
    before = run(direct, tmp_path, num_fewshot=2)
    done = run(cot, tmp_path, num_fewshot=2, prompt_style="cot")
    assert {s.max_new_tokens for s in direct.samplings} == {64} and {s.max_new_tokens for s in cot.samplings} == {1024}
    assert [text.replace(f" {SENTENCE}", "", 1) for text in sorted(cot.asked)] == sorted(direct.asked)
    assert all(text.count(SENTENCE) == 1 for text in cot.asked)
    own = run(Able(), tmp_path, prompt_style="cot", max_new_tokens=300)
    assert own.record["tasks"]["pubmedqa"]["max_new_tokens"] == 300
    rows = list(read_rows(done.path / "samples" / "pubmedqa.jsonl"))
    assert {row["prediction"] for row in rows} == {"no"}
    assert record_of(done)["settings"]["prompt_style"] == "cot" and style_of(record_of(done)["settings"]) == "cot"
    again = rescore(done.path)
    assert again.scores("pubmedqa") == done.scores("pubmedqa")
    assert {row["prediction"] for row in read_rows(done.path / "samples" / "pubmedqa.jsonl")} == {"no"}
    cut = run(Able(lambda _: "One might say the answer is yes. But the", identity="cut"), tmp_path, prompt_style="cot")
    assert cut.record["tasks"]["pubmedqa"]["outcomes"]["unparsed"] == 6
    assert rescore(cut.path).record["tasks"]["pubmedqa"]["outcomes"]["unparsed"] == 6
    documents = documents_of("pubmedqa", record_of(done), rows)
    assert all(SENTENCE in documents.prompt(row)[0] for row in rows)
    with pytest.raises(UsageError, match="answers are asked for in different ways, direct and cot"):
        mibe.compare(before, done)
    forced = mibe.compare(before, done, force=True)
    assert any("asked for in different ways" in note for note in forced.notes)


# What stands beside what


def test_styles_never_share_a_column_and_ways_of_sampling_are_rows_of_their_own(tmp_path):
    run(Able(identity="a"), tmp_path / "direct")
    run(Able(identity="a"), tmp_path / "cot", prompt_style="cot")
    run(Able(identity="a"), tmp_path / "bound", constrain=True)
    for other in ("cot", "bound"):
        with pytest.raises(
            UsageError, match=r"pubmedqa: .* differ in the way of asking \(--prompt-style, --constrain\)"
        ):
            read_results([tmp_path / "direct", tmp_path / other])
    assert [result.conditions["style"] for result in read_results([tmp_path / "bound"])[0]] == ["constrained"]
    run(Able(identity="a"), tmp_path / "direct", temperature=0.7)
    run(Able(identity="a"), tmp_path / "direct", system_prompt="Be brief.")
    results, notes = read_results([tmp_path / "direct"])
    names = {"scripted", "scripted (temperature 0.7)", "scripted (a system prompt)"}
    assert {result.name for result in results} == names and notes == []
    (board,) = leaderboard([tmp_path / "direct"], published="none")
    assert {row.name for row in board.rows} == names


def test_a_run_of_before_these_settings_is_greedy_and_direct(tmp_path):
    done = run(Able(), tmp_path)
    record = record_of(done)
    new = set(fields.DEFAULTS) - fields.OF_OLD
    record["settings"] = {name: value for name, value in record["settings"].items() if name not in new}
    (done.path / "run.json").write_text(json.dumps(record))
    later = run(Able(lambda _: "no", identity="other"), tmp_path)
    assert mibe.compare(done.path, later).notes == ()
    assert style_of(record["settings"]) == "direct" and changes_of(record["settings"]) == []
    assert [result.name for result in read_results([done.path])[0]] == ["scripted"]
    assert rescore(done.path).scores("pubmedqa") == done.scores("pubmedqa")


def test_a_comparison_says_how_text_was_generated_and_a_published_figure_has_none_beside_it(tmp_path):
    greedy = run(Able(identity="a"), tmp_path)
    drawn = run(Able(lambda _: "no", identity="b"), tmp_path, temperature=0.7)
    assert (
        "text was generated in different ways: as usual in A, temperature 0.7 in B" in mibe.compare(greedy, drawn).notes
    )
    assert ("Text generated by", "temperature 0.7") in facts(record_of(drawn))
    assert not any(name in ("Asked for", "Text generated by") for name, _ in facts(record_of(greedy)))
    asked = run(Able(lambda _: "no", identity="c"), tmp_path, system_prompt="Be brief.")
    with pytest.raises(UsageError, match="the system prompts differ"):
        mibe.compare(greedy, asked)
    paper = run(Able(identity="a"), tmp_path, protocol="paper", temperature=0.7)
    ((result,), _) = read_results([paper.path])
    assert why_not(result, None) == "text is generated in another way (temperature 0.7)"


# Answers that are right by construction


def test_every_request_holds_the_answers_that_its_document_has(tmp_path):
    model = Able(lambda _: "B")
    run(model, tmp_path, tasks="medqa", constrain=True)
    assert {s.allowed for s in model.samplings} == {("A", "B", "C", "D", "E")}
    model = Able()
    run(model, tmp_path, constrain=True)
    assert {s.allowed for s in model.samplings} == {("yes", "no", "maybe")}


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("pubmedsum", {"inputs": {"text": "A long report."}, "target": "Short."}),
        ("hoc", {"inputs": {"text": "An abstract."}, "target": ["resisting cell death"]}),
    ],
)
def test_tasks_without_closed_answers_are_one_line(tmp_path, task, row):
    folder = store.data_dir() / task
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text(json.dumps({"id": "1", **row}) + "\n")
    with pytest.raises(UsageError, match=f"{task} has no closed set of answers; leave out --constrain for it"):
        run(Able(), tmp_path, tasks=task, constrain=True)


@pytest.mark.parametrize("name", ["pubmedqa", "medqa", "medqa_4", "medmcqa", "mmlu", "mtsample"])
def test_every_allowed_answer_is_read_as_itself(tmp_path, name):
    task = load_task(name)
    example = next(iter(Documents.select(task, "test", 1, 1234)))
    assert task.answers(example)
    for answer in task.answers(example):
        for said in (answer, f" {answer}"):
            assert task.parser(said, choices=example.choices, inputs=example.inputs) == answer


# The command line


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("", {}),
        ("enable_thinking=false", {"enable_thinking": False}),
        ("enable_thinking=False,x=TRUE,y=None", {"enable_thinking": False, "x": True, "y": None}),
        ('n=3,share=0.5,word=fast,quoted="a,b"', {"n": 3, "share": 0.5, "word": "fast", "quoted": "a,b"}),
        ('tools=[1,2],deep={"a": {"b": 1}}, last=x', {"tools": [1, 2], "deep": {"a": {"b": 1}}, "last": "x"}),
        ("date=26 Jul 2024,v=2024-07-26", {"date": "26 Jul 2024", "v": "2024-07-26"}),
        ("formula=a=b", {"formula": "a=b"}),
    ],
)
def test_chat_template_arguments_are_json_where_they_can_be(text, args):
    assert parse_template_args(text) == args


@pytest.mark.parametrize("text", ["thinking", "a=1,b", "=3", "a b=3", "a=1,a=2"])
def test_chat_template_arguments_that_are_none(text):
    with pytest.raises(UsageError, match="chat template argument"):
        parse_template_args(text)


def test_the_command_line_knows_the_settings_that_there_are(capsys):
    assert (options.GENERATIONS, options.THINKING) == (fields.GENERATIONS, fields.THINKING)
    assert (options.STYLES, options.PROMPTS) == (protocols.STYLES, protocols.PROMPTS)
    assert (options.SCORINGS, options.AT_BUDGET) == (fields.SCORINGS, fields.AT_BUDGET)
    given = parser().parse_args(["eval", "--model", "dummy", "--tasks", "pubmedqa"])
    settings = options.prompt_settings_of(given) | options.generation_settings_of(given)
    assert set(fields.DEFAULTS) - fields.OF_OLD <= settings.keys()
    assert Settings(**settings).asked().keys() == fields.OF_OLD
    named = ["eval", "--model", "dummy", "--tasks", "pubmedqa"]
    for name in fields.NAMES:
        # With all other wrong names of a command, and so not by argparse.
        assert main([*named, f"--{name.replace('_', '-')}", "perhaps"]) == 2
        assert f"unknown {name.replace('_', ' ')} 'perhaps'; known: " in capsys.readouterr().err


def test_eval_and_show_take_a_system_prompt_from_a_file(tmp_path, capsys):
    file = tmp_path / "system.txt"
    file.write_text("You are a careful\nclinician.\n")
    common = ["--model", "dummy", "--system-prompt", f"@{file}", "--prompt-style", "cot"]
    assert main(["eval", "--tasks", "pubmedqa", "--limit", "3", "--output-dir", str(tmp_path / "runs"), *common]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    settings = read_record(folder)["settings"]
    assert (settings["system_prompt"], settings["prompt_style"]) == ("You are a careful\nclinician.", "cot")
    capsys.readouterr()
    assert main(["show", "pubmedqa", *common]) == 0
    shown = capsys.readouterr().out
    assert "You are a careful\nclinician.\n\nYour task" in shown and SENTENCE in shown
    assert main(["eval", "--tasks", "pubmedqa", "--model", "dummy", "--system-prompt", "@nowhere.txt"]) == 2
    assert "--system-prompt @nowhere.txt: the file cannot be read" in capsys.readouterr().err
    assert main(["eval", "--tasks", "pubmedqa", "--model", "dummy", "--temperature", "0.7"]) == 2
    assert "dummy cannot do --temperature; leave it out" in capsys.readouterr().err


def test_a_setting_given_as_an_argument_of_the_model_says_where_it_belongs(capsys):
    for name, option in (("temperature", "--temperature"), ("enable_thinking", "--thinking on or off")):
        with pytest.raises(
            UsageError, match=f"{name} is no argument of the model 'openai' but a setting of the run: {option}"
        ):
            load_model("openai", {"model": "m", name: "1"})
    with pytest.raises(UsageError, match="unknown setting 'enable_thinking'; did you mean thinking"):
        mibe.evaluate(model="dummy", tasks="pubmedqa", enable_thinking=True)
