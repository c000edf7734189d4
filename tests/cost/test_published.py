"""The doubts about the published memory are arithmetic, and the arithmetic holds."""

import re

import pytest

from mibe.forecast.hardware import GIB, SHAPES
from mibe.published.memory import published_memory


def test_the_numbers_of_the_doubts_follow_from_the_published_configurations():
    [said] = published_memory()
    assert (said.value, said.unit, said.batch) == (141.2, "GB", 1)
    unit, weights, running, _ = said.doubts
    llama2, llama3 = SHAPES["llama2-70b"], SHAPES["llama3-70b"]
    assert "7 %" in unit and pytest.approx(1.07, abs=0.005) == GIB / 1e9
    numbers = [float(text) for text in re.findall(r"\d+\.\d+", weights)]
    assert numbers == [
        round(said.value / 2, 1),
        round(llama3.params / 1e9, 2),
        round(llama3.weight_bytes("bfloat16") / 1e9, 1),
        round(llama2.params / 1e9, 2),
        round(llama2.weight_bytes("bfloat16") / 1e9, 1),
        round(llama2.weight_bytes("bfloat16") / GIB, 1),
    ]
    assert llama2.cache_bytes("bfloat16") == 320 * 1024 and "320 KiB" in running
    assert f"{4096 * llama2.cache_bytes('bfloat16') / 1e9:.2f} GB" in running
