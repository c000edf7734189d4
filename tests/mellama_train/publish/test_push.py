"""A model goes to a hub whole; one of restricted data only by a stated permission, to a private place."""

import json

import pytest

pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with the extra hub")

from hub_server import hub
from training_parts import make_model, make_tokenizer

from mellama_train.cli import main
from mellama_train.model import provenance

REPOSITORY = "clinic/me-llama"


@pytest.fixture
def server(monkeypatch):
    with hub() as running:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.address)
        monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
        yield running


@pytest.fixture
def model(tmp_path):
    """A model whose record says that it learned from data of so many access levels."""

    def made(**sources):
        folder = make_model(tmp_path / "model")
        make_tokenizer().save_pretrained(folder)
        known = tuple(
            provenance.Source(name=name, access=access, agreements=("DUA 1.5",) if access == "credentialed" else ())
            for name, access in sources.items()
        )
        about = {
            "model": {"path": "base/model"},
            "context": 8,
            "precision": "fp32",
            "seed": 0,
            "batch": {"rows": 1},
            "engine": {"name": "plain", "sharding": "ddp"},
            "optimizer": {
                "learning_rate": 1e-5,
                "schedule": "cosine",
                "warmup_ratio": 0.0,
                "betas": [0.9, 0.95],
                "weight_decay": 0.0,
            },
        }
        stage = provenance.Stage(recipe=about, steps=1, sources=known)
        provenance.write(folder, provenance.Lineage(origin="base/model", stages=(stage,)))
        return folder

    return made


def export(folder, to, *more):
    return main(["export", str(folder), "--to", str(to), "--push", REPOSITORY, *more])


def test_the_whole_folder_arrives_and_its_repository_is_private(server, model, tmp_path, capsys):
    to = tmp_path / "out"
    assert export(model(guidelines="open"), to) == 0
    assert server.private == {REPOSITORY: True} and server.tokens <= {None, "Bearer hf_of_this_test"}
    assert server.files[REPOSITORY] == {path.name: path.read_bytes() for path in to.iterdir()}
    assert {"README.md", "model.safetensors", "training.json"} <= set(server.files[REPOSITORY])
    assert capsys.readouterr().out.splitlines()[-2:] == [str(to), f"{server.address}/{REPOSITORY}/commit/{'0' * 40}"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"mimic": "credentialed", "alpaca": "open"}, "learned from data under an agreement (mimic)"),
        ({"theirs": "unknown"}, "learned from data whose access level was not recorded (theirs)"),
        ({}, "has no record of what it learned from"),
    ],
)
def test_restricted_data_wants_a_word_and_a_private_place(server, model, tmp_path, capsys, sources, said):
    folder = model(**sources)
    capsys.readouterr()  # a bar, while the model was saved
    assert export(folder, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert said in error and "--permission TEXT" in error and error.count("\n") == 1
    # Nothing was made, here or there.
    assert not server.private and not (tmp_path / "out").exists()

    word = "ruling 12 of the data's owners"
    server.private[REPOSITORY], server.files[REPOSITORY] = False, {}
    assert export(folder, tmp_path / "out", "--permission", word) == 2
    assert "everybody can read that repository" in capsys.readouterr().err
    assert not server.files[REPOSITORY] and not (tmp_path / "out").exists()

    server.private[REPOSITORY] = True
    assert export(folder, tmp_path / "out", "--permission", word) == 0
    assert f"Handed on to {REPOSITORY} by this permission: {word}" in server.files[REPOSITORY]["README.md"].decode()


def test_a_hub_that_refuses_is_one_line_and_the_folder_stays(server, model, tmp_path, capsys, monkeypatch):
    folder = model(guidelines="open")
    capsys.readouterr()
    server.refuses_commits = True
    assert export(folder, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert f"`hf upload {REPOSITORY} {tmp_path / 'out'}` sends it" in error
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "llama"

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert export(folder, tmp_path / "second") == 2
    assert "look at the name, the network and the token" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


def test_a_permission_without_push_is_a_mistake(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--to", str(tmp_path / "out"), "--permission", "x"]) == 2
    assert "--permission is for what --push sends" in capsys.readouterr().err
