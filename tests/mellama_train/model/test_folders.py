"""What is said of a model by its folder alone."""

import json

import pytest

from mellama_train.model.folders import looks_local, problem_of, window_of


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "runs" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    (folder / "model.safetensors").touch()
    return folder


def test_a_whole_folder_and_a_hubs_name_have_no_problem(model):
    assert problem_of(str(model)) is None and window_of(str(model)) == 512
    assert problem_of("meta-llama/Llama-2-13b-hf") is None and problem_of("gpt2") is None
    assert window_of("gpt2") is None


@pytest.mark.parametrize(
    ("name", "is_local"),
    [
        ("gpt2", False),
        ("owner/name-1.5_b", False),
        ("/models/llama", True),
        ("./llama", True),
        ("../llama", True),
        ("~/llama", True),
        ("runs/pretrain/final", True),
        ("runs/finall", True),  # runs is a folder here
        ("other/final", False),
        ("my model", True),
        ("a\\b", True),
        ("", True),
    ],
)
def test_a_folder_is_told_from_a_hubs_name(model, monkeypatch, name, is_local):
    monkeypatch.chdir(model.parents[1])
    assert looks_local(name) is is_local


def test_what_is_missing_is_named(model, tmp_path):
    def problem(path):
        found = problem_of(str(path))
        assert found is not None
        return found

    assert problem(model.parent / "modle") == f"there is no folder {model.parent / 'modle'}; {model.parent} holds model"
    assert "is a file; give the folder" in problem(model / "config.json")
    (model / "model.safetensors").unlink()
    assert f"{model} holds no weights" in problem(model)
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "three.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    (model / "two.safetensors").touch()
    (model / "two.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert "lacks one.safetensors and 1 more files, which model.safetensors.index.json lists" in problem(model)
    (model / "model.safetensors.index.json").unlink()
    assert (
        problem(model)
        == f"{model / 'two.safetensors'} is a pointer of Git LFS and no weights; fetch them: git lfs pull"
    )
    assert problem(f"{tmp_path}/{'a' * 300}").startswith("there is no folder")
    (model / "config.json").write_text("{")
    assert "config.json is damaged" in problem(model) and window_of(str(model)) is None
    (model / "config.json").unlink()
    assert "holds no config.json, so it is no model" in problem(model)
    (model / "adapter_config.json").write_text("{}")
    assert "is an adapter; merge it into its model first" in problem(model)
    (tmp_path / "run" / "final").mkdir(parents=True)
    (tmp_path / "run" / "final" / "config.json").write_text("{}")
    assert problem(tmp_path / "run").endswith(f"holds no config.json; the model is in {tmp_path / 'run' / 'final'}")
