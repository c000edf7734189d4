"""The suites are the settings of the paper, of registered tasks, and ship with the package."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from mibe.errors import UsageError
from mibe.registry import list_groups, list_tasks, load_task
from mibe.suites import Suite, list_suites, load_suite
from mibe.task import AccessLevel, Category

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", list_suites())
def test_every_suite_is_of_registered_tasks(name: str) -> None:
    suite = load_suite(name)
    assert isinstance(suite, Suite) and suite.name == name and suite.title and suite.source
    assert set(suite.tasks) <= set(list_tasks())
    assert all(isinstance(count, int) and count >= 0 for count in suite.num_fewshot.values())


def test_every_file_is_listed_and_packaged() -> None:
    assert {path.stem for path in (ROOT / "mibe" / "suites").glob("*.json")} == set(list_suites())
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert "suites/*.json" in config["options.package_data"]["mibe"]


def test_the_settings_of_the_paper() -> None:
    twelve = list_groups()["mibe"]
    assert len(twelve) == 12
    for name in ("zero_shot", "supervised", "ablation"):
        assert load_suite(name).num_fewshot == dict.fromkeys(twelve, 0)
    few = load_suite("few_shot").num_fewshot
    assert tuple(few) == twelve
    for task, count in few.items():
        assert count == (1 if load_task(task).category is Category.SUMMARIZATION else 5) == load_task(task).shots
    assert load_suite("forgetting").tasks == list_groups()["forgetting"]
    assert load_suite("diagnosis").tasks == list_groups()["diagnosis"]


def test_nothing_credentialed_goes_to_commercial_services() -> None:
    tasks = [load_task(name) for name in load_suite("commercial").tasks]
    assert len(tasks) == 8
    assert all(task.access.level is not AccessLevel.CREDENTIALED for task in tasks)


def test_an_unknown_suite_is_answered_with_near_names() -> None:
    with pytest.raises(UsageError, match="unknown suite 'zeroshot'; did you mean zero_shot"):
        load_suite("zeroshot")
