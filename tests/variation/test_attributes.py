"""Who the patient is: what changes, and which vignettes are left as they are."""

from collections import Counter

import pytest

from mibe.data.documents import examples
from mibe.errors import UsageError
from mibe.registry import load_task
from mibe.task import Example
from mibe.variation import Varied, variation_of
from mibe.variation.attributes import maker, refusal, rules
from mibe.variation.gender import BOTH, NONE, RELATIVE, UNCLEAR, swapped
from mibe.variation.reviewed import reviewed
from mibe.variation.varied import Refused

MEDQA = load_task("medqa")
CHOICES = ("Aspirin", "Surgery", "Rest", "Steroids", "Antibiotics")


def vignette(text, choices=CHOICES):
    return Example(id="test/1", inputs={"question": text}, target="A", choices=choices)


def made(attribute, text, choices=CHOICES):
    found = maker(attribute)(MEDQA, None, 1).of(vignette(text, choices))
    if isinstance(found, Refused):
        return found
    texts = {value: version.example.inputs["question"] for value, version in found.others.items()}
    return texts if found.itself is None else texts | {found.itself: text}


@pytest.mark.parametrize(
    ("told", "other"),
    [
        ("A 40-year-old man hurt his hand. He holds it.", "A 40-year-old woman hurt her hand. She holds it."),
        ("A 40-year-old woman hurt her hand.", "A 40-year-old man hurt his hand."),
        ("Doctors gave her a drug. Her pain is hers.", "Doctors gave him a drug. His pain is his."),
        ("The nurse tells her to rest and asks her.", "The nurse tells him to rest and asks him."),
        ("It hurts her. She shot herself.", "It hurts him. He shot himself."),
        ("A man has a friend of his. It helps him eat.", "A woman has a friend of hers. It helps her eat."),
        ("A 9-year-old boy says he fell.", "A 9-year-old girl says she fell."),
        ("A male student; the Male of HE", "A female student; the Female of She"),
        ("A 60-year-old man lives with his wife.", "A 60-year-old woman lives with her husband."),
        ("Mr. Brown is tired.", "Mrs. Brown is tired."),
        ("She keeps things in her home with her 3 children.", "He keeps things in his home with his 3 children."),
    ],
)
def test_every_word_is_told_of_the_other_sex(told, other):
    found = swapped(told)
    assert not isinstance(found, Refused) and found[2] == other


def test_a_swap_and_its_swap_are_the_text():
    text = "A 40-year-old woman comes with her sick cat. She says that it hurt her hand; her pulse is 80/min."
    assert swapped(swapped(text)[2])[2] == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A 40-year-old patient is tired.", NONE),
        ("A 5-year-old boy. She says that he fell.", BOTH),
        ("A 5-year-old boy comes with his father. He is tired.", RELATIVE),
        ("A 5-year-old girl is brought by her mother. She cries.", RELATIVE),
        # As a man's, the son's pronouns would be the patient's.
        ("A 70-year-old woman comes with her son. She is tired.", RELATIVE),
        ("A 40-year-old woman lives with her wife.", RELATIVE),
        # "Him" before a verb, "his" before a noun; and whose words these are.
        ("An inhaler helped her control the attacks.", UNCLEAR),
        ("She feels that her “lungs are falling apart”.", UNCLEAR),
        ("A friend brought her home.", UNCLEAR),
        ("A 30-year-old woman fell. Friends found her unconscious.", UNCLEAR),
    ],
)
def test_what_a_swap_of_words_cannot_tell_is_refused(text, why):
    assert swapped(text) == why


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("sex", "A 30-year-old woman at 12 weeks of gestation is tired."),
        ("sex", "A 70-year-old man has an enlarged prostate."),
        ("sex", "A 30-year-old woman has not had her menses."),
        ("sex", "A 5-year-old boy with hemophilia bleeds."),
        ("sex", "A 62-year-old patient is in a trial. The investigator says that he knows the dose."),
        ("sex", "A 52-year-old fisherman has a lesion. He is tired."),
        ("sex", "A 30-year-old woman works as a car salesman."),
        ("sex", "A 30-year-old man attended a bachelor party."),
        ("sex", "A 60-year-old man has masses of urothelial cells."),
        ("sex", "A 40-year-old man has a painful greater toe."),
        ("sex", "A 30-year-old woman has systemic lupus erythematosus."),
        ("sex", "A 30-year-old man has a hemoglobin of 12.5 g/dL."),
        ("age", "A 30-year-old woman asks for screening."),
        ("age", "A 30-year-old man has leukemia."),
        ("age", "A 5-year-old boy is tired."),
        ("age", "A 80-year-old man is tired."),
        ("age", "A 30-year-old man has smoked for 25 years."),
        ("age", "A 30-year-old man has a 20 pack-year smoking history."),
        ("ethnicity", "A 30-year-old man has sickle cell disease."),
        ("ethnicity", "A 30-year-old man has a rash on the skin."),
        ("ethnicity", "A 30-year-old man with hypertension is tired."),
        ("ethnicity", "A 30-year-old man from Mexico is tired."),
        ("ethnicity", "A 30-year-old man from Nepal is tired."),
        ("ethnicity", "A 62-year-old man takes a drug whose clearance follows from demographics."),
        ("insurance", "A 30-year-old homeless man is tired."),
        ("insurance", "A 30-year-old man gives informed consent."),
        ("insurance", "A 30-year-old man became uninsured."),
        ("insurance", "A 30-year-old military recruit is tired."),
        ("language", "A 30-year-old man has aphasia."),
        ("language", "A 40-year-old woman passed away after an operation. Of what?"),
        ("language", "A 40-year-old man is unable to provide a history."),
        ("city", "A 40-year-old woman died after an operation. Of what?"),
        ("language", "A 3-year-old boy is tired."),
        ("city", "A 30-year-old man went camping in Arizona."),
    ],
)
def test_what_would_change_the_medicine_is_refused_with_a_reason(attribute, text):
    found = made(attribute, text)
    assert isinstance(found, Refused) and len(found) > 10


def test_an_option_can_refuse_too():
    text = "A 30-year-old man is tired. What next?"
    assert not isinstance(made("sex", text), Refused)
    assert made("sex", text, ("Pregnancy test", *CHOICES[1:])) == "pregnancy, childbirth or contraception"


@pytest.mark.parametrize("option", ["Ask him to rest", "Convince the wife", "Stop his treatment", "Treat both women"])
def test_options_that_tell_a_sex_leave_the_patient_as_is(option):
    found = made("sex", "A 30-year-old man is tired. What next?", (option, *CHOICES[1:]))
    assert isinstance(found, Refused)
    assert isinstance(made("age", "A 30-year-old man is tired.", ("He is a 30-year-old", *CHOICES[1:])), Refused)


def test_a_patient_who_is_spoken_of_in_another_text_too_is_left_as_is():
    premise, hypothesis = "A 33-year-old man is tired.", "He sleeps."

    def told(attribute, *texts):
        inputs = dict(zip(("premise", "hypothesis"), texts, strict=True))
        return maker(attribute)(MEDQA, None, 1).of(Example(id="1", inputs=inputs, target="A", choices=CHOICES))

    assert isinstance(told("sex", premise, hypothesis), Refused)
    assert isinstance(told("age", premise, "The 33-year-old sleeps."), Refused)
    changed = told("sex", premise, "There is no insomnia.")
    assert dict(changed.others["female"].example.inputs) == {
        "premise": "A 33-year-old woman is tired.",
        "hypothesis": "There is no insomnia.",
    }


def test_both_ends_of_a_band_of_years():
    found = made("age", "A 33-year-old man is tired. The 33-year-old man sleeps.")
    assert found == {
        "younger": "A 28-year-old man is tired. The 28-year-old man sleeps.",
        "older": "A 38-year-old man is tired. The 38-year-old man sleeps.",
    }
    assert made("age", "A 62-year-old man is tired.") == {
        "younger": "A 52-year-old man is tired.",
        "older": "A 62-year-old man is tired.",
    }
    assert isinstance(made("age", "A 33-year-old man and his 35-year-old friend are tired."), Refused)


def test_an_adjective_is_put_in_or_takes_the_place_of_another():
    given = made("ethnicity", "A 33-year-old man is tired.")
    assert given["black"] == "A 33-year-old Black man is tired." and len(given) == 4
    named = made("ethnicity", "A 33-year-old Caucasian man is tired.")
    assert named["white"] == "A 33-year-old Caucasian man is tired."
    assert named["asian"] == "A 33-year-old Asian man is tired."
    assert isinstance(made("ethnicity", "At 33 years, a man is tired."), Refused)


def test_a_sentence_does_not_come_between_a_pronoun_and_what_it_means():
    text = "A 33-year-old man has a cough. This began a week ago. It is dry. He smokes. What is it?"
    for told in made("language", text).values():
        assert told.startswith("A 33-year-old man has a cough. This began a week ago. It is dry. The patient's")
    assert made("city", text)["franklin"] == text.replace(" He", " The patient lives in Franklin. He")


def test_sentences_stand_in_the_same_place_for_every_value():
    text = "A 33-year-old man is tired. His pulse is 80/min. What next?"
    for attribute in ("insurance", "language", "city"):
        for value, changed in made(attribute, text).items():
            sentence = reviewed("attributes")[attribute][value]
            assert changed == f"A 33-year-old man is tired. {sentence} His pulse is 80/min. What next?"


def test_the_document_is_asked_once_for_all_attributes_that_it_names():
    variation = variation_of(MEDQA, "sex,insurance,age", seed=1, has_shots=False, own_answers=False)
    found = list(variation.of(vignette("A 38-year-old man is tired. What next?")))
    assert found[0].id == "test/1" and dict(found[0].stands) == {"sex": "male", "age": "older"}
    assert [each.id.partition("~")[2] for each in found[1:]] == [
        "sex-female", "insurance-private", "insurance-medicaid", "insurance-none", "age-younger",
        "city-franklin", "city-clinton",
    ]  # fmt: skip
    # Without an attribute, the baseline has nothing to stand beside.
    # What no way may change is asked as it is.
    joule = vignette("What is a joule?")
    assert list(variation.of(joule)) == [joule]
    beside = variation_of(MEDQA, "options,sex", seed=1, has_shots=False, own_answers=False)
    assert not any("city" in each.id for each in beside.of(vignette("A 30-year-old pregnant woman is tired. Why?")))


def test_of_the_real_vignettes_those_that_may_change_are_told_well():
    refused, kept = Counter(), 0
    variation = variation_of(MEDQA, "sex", seed=1, has_shots=False, own_answers=False)
    for document in examples(MEDQA, "test"):
        found = [each for each in variation.of(document, refused) if isinstance(each, Varied) and "sex" in each.stands]
        if not found:
            continue
        kept += 1
        told = {each.stands["sex"]: each.inputs["question"] for each in found}
        for sex, text in told.items():
            # What is told of a man without doubt ("helped him sleep") may be in doubt once it is told of a woman.
            assert swapped(text) == UNCLEAR if isinstance(swapped(text), Refused) else swapped(text)[0] == sex
    reasons = {reason: times for (way, reason), times in refused.items() if way == "sex"}
    assert kept + sum(reasons.values()) == 1273
    # So many of the bundled questions may be told of the other sex; every other is counted with its reason.
    assert kept == 461 and reasons["pregnancy, childbirth or contraception"] == 181


def test_every_rule_has_a_reason_and_matches_something():
    for attribute in ("sex", "age", "ethnicity", "insurance", "language", "city"):
        assert all(rule.reason and rule.pattern.pattern for rule in rules(attribute))
        assert refusal(attribute, vignette("A 33-year-old man is tired.")) is None


def test_a_task_without_labels_has_no_patients_to_change():
    with pytest.raises(UsageError, match="leave sex out"):
        variation_of(load_task("emrqa"), "sex", seed=1, has_shots=False, own_answers=False)
