"""Keys are known by what a header can hold, and found in whatever spelling JSON has for them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mibe.models.keys import can_be_sent, hidden, in_environment, without

KEY = "sk-canary/4711"
ODD = "sk-first\nsecond"


@pytest.mark.parametrize(
    ("key", "can"), [("sk-1/2+3=", True), ("", True), ("a b", False), ("a\n", False), ("é", False)]
)
def test_what_a_header_can_hold(key, can):
    assert can_be_sent(key) is can


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no {KEY}!", "no [key]!"),
        ("no sk-canary\\/4711!", "no [key]!"),
        ("no \\u0073k-canary\\/4711!", "no [key]!"),
        ("no \\\\u0073k-canary\\\\/4711!", "no [key]!"),
        ("header value: 'Bearer sk-first\\nsecond'", "header value: 'Bearer [key]'"),
        ("C:\\new \\u0041", "C:\\new \\u0041"),
    ],
)
def test_a_key_is_taken_out_however_it_is_spelt(text, shown):
    assert without([KEY, ODD], text) == shown


@given(st.text(max_size=10), st.text(max_size=10), st.integers(0, 3))
def test_no_depth_of_escapes_hides_a_key(before, after, depth):
    text = before + KEY + after
    for _ in range(depth):
        text = json.dumps(text)
    assert KEY not in without([KEY], text)


def test_which_variables_hold_keys():
    environment = {"OPENAI_API_KEY": "a" * 9, "HF_TOKEN": " b ", "MY_SECRET": "c", "TOKENIZERS_PARALLELISM": "false"}
    assert in_environment(environment | {"KEYBOARD": "us", "db_password": "dd"}) == ["a" * 9, "dd", "b", "c"]
    assert without(["no"], "no short value is a secret") == "no short value is a secret"


def test_a_word_of_a_command_is_written_without_its_keys():
    environment = {"SERVICE_API_KEY": "sk-0123456789", "HOME": "/root"}
    for word, written in [
        ("model=m,api_key=a b\\,c,timeout=3", "model=m,api_key=[key],timeout=3"),
        ('hf_token="x,y",dtype=float16', "hf_token=[key],dtype=float16"),
        ("base_url=https://me:secret@host/v1,model=m", "base_url=https://[key]@host/v1,model=m"),
        ("extra=<sk-0123456789>", "extra=<[key]>"),
        ("pretrained=/data/keys/tokenizer,max_new_tokens=3", "pretrained=/data/keys/tokenizer,max_new_tokens=3"),
        ("mail me@host", "mail me@host"),
    ]:
        assert hidden(word, environment) == written
