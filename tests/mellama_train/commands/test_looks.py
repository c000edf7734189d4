"""What a run would do, shown before it does it."""

import json
import re
import subprocess
import sys

import yaml
from training_parts import CHAT, recipe_text, save_chat_model

from mellama_train.cli import main


def tuning(tmp_path, **changes):
    """A recipe on three samples of a tiny chat model."""
    model = save_chat_model(tmp_path / "model")
    lines = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in (1, 2, 3)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    keys = recipe_text(tmp_path, model, data={"files": [str(tmp_path / "s.jsonl")]}, epochs=2, **changes)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(keys))
    return str(tmp_path / "r.yaml")


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path, capsys):
    recipe = tuning(tmp_path, context=64, batch={"rows": 1})
    assert main(["instruct", recipe, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "of 64 tokens" in out and "sources: s" in out and "held-out rows: none" in out
    assert not (tmp_path / "run").exists()
    assert main(["instruct", recipe, "--dry-run", "--set", "steps=1"]) == 0
    assert "steps: 1 of 1 rows" in capsys.readouterr().out
    for more in (["--dry-run"], []):
        assert main(["instruct", recipe, *more, "--set", "steps=50"]) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert "the data makes 2 steps (2 rows, 1 a step), and 50 are asked for" in said


def test_documents_are_shown_with_what_is_learned_marked(tmp_path, capsys):
    recipe = tuning(tmp_path, context=64)
    assert main(["instruct", recipe, "--show", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("--- ") == 2
    learned = re.findall("⟦(.*?)⟧", shown)
    assert len(learned) == 2 and all(re.fullmatch(r"It is \d\.\s*<\|end\|>", text) for text in learned)
    assert "What is" in re.sub("⟦.*?⟧", "", shown)
    assert not (tmp_path / "run").exists()
    assert main(["instruct", recipe, "--show", "0"]) == 2
    assert "--show: 0 is out of range" in capsys.readouterr().err


def test_colour_marks_the_same_as_brackets(tmp_path):
    import numpy as np
    from training_parts import make_tokenizer

    from mellama_train.loop.training import TrainingData
    from mellama_train.rows.row import Row
    from mellama_train.trainers.preview import shown

    tokenizer = make_tokenizer()
    ids = np.array(tokenizer("abcd")["input_ids"])
    row = Row(ids, np.arange(4), np.where([False, False, True, True], ids, -100), "s")

    class One:
        length = 4

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return row

    data = TrainingData(One(), {}, tokenizer)
    (plain,), (coloured,) = shown(data, 1, colour=False), shown(data, 1, colour=True)
    assert plain.replace(" ", "").endswith("\nab⟦cd⟧")
    assert coloured.replace(" ", "").endswith("\n\x1b[2mab\x1b[0m\x1b[32mcd\x1b[0m")


def test_a_chat_template_of_the_recipe_takes_the_place_of_the_models(tmp_path, capsys):
    own = CHAT.replace("<|{{ m['role'] }}|>", "[{{ m['role'] }}]").replace("<|assistant|>", "[assistant]")
    (tmp_path / "own.jinja").write_text(own)
    recipe = tuning(tmp_path, context=96)
    assert main(["instruct", recipe, "--show", "1", "--set", f"model.chat_template={tmp_path / 'own.jinja'}"]) == 0
    assert "[user]What is" in capsys.readouterr().out
    assert main(["instruct", recipe, "--show", "1", "--set", "model.chat_template=nowhere.jinja"]) == 2
    assert "model.chat_template: there is no file nowhere.jinja" in capsys.readouterr().err


def test_warnings_of_what_will_be_deprecated_are_not_shown_unless_asked_for():
    code = (
        "import warnings\nfrom mellama_train.commands.quiet import quieten\nquieten()\n"
        "warnings.warn('soon gone', FutureWarning)\nwarnings.warn('wrong', UserWarning)"
    )

    def said(*flags):
        return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True).stderr

    assert "soon gone" not in said() and "wrong" in said()
    assert "soon gone" in said("-W", "default")
