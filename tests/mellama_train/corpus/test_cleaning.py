"""Cleaning steps: what each changes and, as important, what it leaves alone."""

import pytest

pytest.importorskip("xxhash", reason="xxhash comes with the extra train")

from hypothesis import given
from hypothesis import strategies as st

from mellama_train.corpus import cleaning
from mellama_train.corpus.cleaning import PLAIN_STEPS, steps


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ("unicode", "de\ufb01ne cafe\u0301\u00a0x\u2028y", "define café x\ny"),
        ("unicode", "10⁹/L ≥ 5 µm², H₂O ½", "10⁹/L ≥ 5 µm², H₂O ½"),
        ("control_characters", "a\x00b\r\nc\rd\x0ce\u200bf\ufeffg\u00adh\ti\x85j", "ab\nc\ndefgh\ti\nj"),
        ("control_characters", "ångström “quote” – 木", "ångström “quote” – 木"),
        ("whitespace", " a \t b\u3000c \n\n \n\n d\n", "a b c\n\nd"),
        ("deidentified", "Dr. [**Last Name (STitle) 12**], [**2151-7-16**], Unit ______.", "Dr. ___, ___, Unit ___."),
        ("deidentified", "[**Name\n**] and a [list] ** here", "___ and a [list] ** here"),
        ("deidentified", "Name:  ___ B__ a_b", "Name:  ___ B__ a_b"),
        ("references", "A long text, of many words.\n\n# References\n\n1. Smith.", "A long text, of many words."),
        ("references", "A long text, of many words.\n\nREFERENCES:\n1. Smith.", "A long text, of many words."),
        ("references", "References\n\nA text so titled goes on.", "References\n\nA text so titled goes on."),
        ("references", "It has\nMore references follow.", "It has\nMore references follow."),
        ("captions", "Text.\nFigure 1. A plot.\nTable S2: Values\nMore.", "Text.\nMore."),
        ("captions", "Figure 1 shows it.\nTable 2 lists them.", "Figure 1 shows it.\nTable 2 lists them."),
        ("citations", "As shown [12], [3, 5–7] and \\[[@CR7]\\]; also [@b1-x; @b2].", "As shown, and; also."),
        ("citations", 'It rose ([Fig. 1](#F1){ref-type="fig"}).', "It rose."),
        ("citations", "[Na+] of 140 [mmol/L], aged [18-65 years]", "[Na+] of 140 [mmol/L], aged [18-65 years]"),
    ],
)  # fmt: skip
def test_what_a_step_does(step, before, after):
    assert PLAIN_STEPS[step](before) == after


@pytest.mark.parametrize(
    ("step", "kept", "dropped"),
    [
        (("min_words", 3), "three short words", "two words"),
        (("min_letters", 0.6), "Na 140, K 4: both normal", "12 34 | 5.6 a b"),
        (("english", 2), "the tip of it", "der Anfang von etwas"),
        (("max_repeated_lines", 0.3), "a\nb\nc\nd", "a\na\na\nb"),
    ],
)
def test_what_a_filter_drops(step, kept, dropped):
    (found,) = steps([step])
    assert found.apply(kept) == kept and found.apply(dropped) == ""


@pytest.mark.parametrize("name", PLAIN_STEPS)
@given(text=st.text())
def test_a_step_done_twice_changes_nothing_more_and_adds_no_words(name, text):
    once = PLAIN_STEPS[name](text)
    # The marks of a citation may come together when one between them goes.
    assert name == "citations" or PLAIN_STEPS[name](once) == once
    assert name in ("unicode", "deidentified") or len(once) <= len(text) + text.count("\x85")


def test_steps_by_name_in_their_order():
    assert [s.name for s in steps(["whitespace", ("min_words", 20.0), "unicode"])] == [
        "whitespace",
        "min_words: 20",
        "unicode",
    ]
    for wanted, message in (
        ("min_words", r"needs a number: \{min_words: …\}"),
        (("unicode", 3), "takes no number"),
        ("spaces", "unknown step 'spaces'; known: unicode, control_characters, whitespace"),
    ):
        with pytest.raises(ValueError, match=message):
            steps([wanted])


def test_the_examples_in_the_documentation():
    import doctest

    assert doctest.testmod(cleaning).failed == 0
