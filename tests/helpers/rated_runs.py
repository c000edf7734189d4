"""Cases with runs of two models on them, for the tests of ratings and of the page they are given on."""

import json

import mibe
from mibe.data.prepare import prepare
from mibe.registry import load_task

CASES = 12
UNREADABLE = 7
"""The case for which the second model gives no list."""

DISEASES = (
    "Gout",
    "Sarcoidosis",
    "Whipple disease",
    "Brucellosis",
    "Amyloidosis",
    "Q fever",
    "Scurvy",
    "Lupus",
    "Mpox",
)
MODELS = ("SecretModelA", "SecretModelB")
JUDGE = "exact"


def rank_of(number):
    """Where the true diagnosis stands in `listing`."""
    return number % 10 + 1


def listing(number):
    """Ten diagnoses for a case."""
    names = list(DISEASES)
    names.insert(rank_of(number) - 1, f"Disease {number}")
    return "\n".join(f"{rank}. {name}" for rank, name in enumerate(names, start=1))


def make_runs(folder, *, texts=None, answers=None):
    """Two finished, judged runs of nejm_cpc. By number of the case: `texts` of cases, `answers` of the first model."""
    cases = [(texts or {}).get(number, f"A patient with finding {number}.") for number in range(CASES)]
    rows = [
        {"id": f"case-{number}", "case": case, "diagnosis": f"Disease {number}; Morbus {number}"}
        for number, case in enumerate(cases)
    ]
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = load_task("nejm_cpc")
    prepare(task.data_name, task.source, folder / "raw", variant=None, access=task.access)

    def run(name, special):
        def model(prompts):
            numbers = [next(n for n, case in enumerate(cases) if case in prompt) for prompt in prompts]
            return [special.get(number, listing(number)) for number in numbers]

        model.__name__ = name
        return mibe.evaluate(
            model=model, tasks="nejm_cpc", output_dir=folder / "runs", judge=JUDGE, use_cache=False, resamples=200
        )

    return [run(MODELS[0], answers or {}), run(MODELS[1], {UNREADABLE: "I am sorry, but I cannot help with that."})]
