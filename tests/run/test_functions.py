"""A function is a model; under a name and a version its answers are kept, and without a name nothing is."""

import pytest

import mibe
from mibe.errors import UsageError
from mibe.models import as_model


class Counting:
    """Says "yes" and remembers what it was asked; `broken` prompts make it raise."""

    def __init__(self, broken=0):
        self.asked = []
        self.broken = broken

    def __call__(self, prompts):
        self.asked += prompts
        if self.broken > 0:
            self.broken -= 1
            raise TimeoutError("the server behind this function is asleep")
        return ["yes"] * len(prompts)


def score(function, tmp_path, **settings):
    return mibe.evaluate(
        model=function, tasks="pubmedqa", limit=20, resamples=50, output_dir=tmp_path / "runs", **settings
    )


def test_a_named_function_is_asked_once(tmp_path):
    first, second = Counting(), Counting()
    done = score(first, tmp_path, name="mine", version=1)
    again = score(second, tmp_path, name="mine", version="1")
    assert (len(first.asked), len(second.asked)) == (20, 0)
    assert done.record["model"]["identity"] == {"model": "function", "name": "mine", "version": "1"}
    assert again.scores("pubmedqa") == done.scores("pubmedqa")
    assert again.record["tasks"]["pubmedqa"]["timing"]["from_cache"] == 20


def test_another_version_or_name_is_another_model(tmp_path):
    score(Counting(), tmp_path, name="mine", version=1)
    for known in ({"name": "mine", "version": 2}, {"name": "mine"}, {"name": "yours", "version": 1}):
        other = Counting()
        score(other, tmp_path, **known)
        assert len(other.asked) == 20, known


def test_a_named_function_that_failed_is_asked_again_in_the_same_run(tmp_path):
    # 64 prompts are handed over at once: of 100 the first batch fails and the second does not.
    settings = {"limit": 100, "name": "mine", "tasks": "pubmedqa", "resamples": 50, "output_dir": tmp_path / "runs"}
    half = mibe.evaluate(model=Counting(broken=1), **settings)
    assert half.failed == 64 and half.record["status"] == "incomplete"
    back = Counting()
    whole = mibe.evaluate(model=back, **settings)
    assert whole.path == half.path and len(back.asked) == 64
    assert whole.failed == 0 and whole.record["status"] == "finished"


def test_nothing_of_a_function_without_a_name_is_kept(tmp_path):
    first, second = Counting(), Counting()
    one, two = score(first, tmp_path), score(second, tmp_path)
    assert one.record["model"]["identity"] is None and one.path != two.path
    assert (len(first.asked), len(second.asked)) == (20, 20)


@pytest.mark.parametrize(
    ("model", "known", "said"),
    [
        (Counting(), {"version": 3}, "version=3 goes with a name"),
        (Counting(), {"name": " "}, "a text that says something"),
        (Counting(), {"name": 3}, "a text that says something"),
        ("dummy", {"name": "mine"}, "other models have an identity of their own"),
        (as_model("dummy"), {"version": 1}, "other models have an identity of their own"),
    ],
)
def test_what_an_identity_cannot_be_is_said(model, known, said):
    with pytest.raises(UsageError, match=said):
        as_model(model, **known)
