"""The kinds of GPUs that a plan knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A10G": 70.0,
    "V100": 125.0,
}
"""Dense peak in bf16 (V100: fp16), as the makers' data sheets say, by a part of the device's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """Memory (GiB), dense 16-bit peak (TFLOP/s; 0 where it is not known), and the utilisation to reckon with.

    `utilisation` is the share of the peak that all operations reach, recomputed ones among them. `link` is GB a second
    of a GPU to the others of its machine, one way; `network` of a machine to the others, by one adapter a GPU, as the
    makers' own eight-GPU machines have. `bandwidth` is GB a second of its memory, as data sheets say (0: not known).
    """

    memory: float | None
    peak: float = 0.0
    utilisation: float | None = None
    source: str = ""
    link: float = 25.0
    network: float = 12.5
    bandwidth: float = 0.0


LLAMA2 = "Llama 2's own GPU-hours (its table 2), read as those of a run that computes activations again"
LLAMA3 = "Llama 3's report (38 to 43 % on H100s in bf16, nothing computed again)"
_A100: dict[str, Any] = {
    "peak": PEAK_TFLOPS["A100"],
    "utilisation": 0.60,
    "source": LLAMA2,
    "link": 300,
    "network": 200,
}
_H100: dict[str, Any] = {
    "peak": PEAK_TFLOPS["H100"],
    "utilisation": 0.40,
    "source": LLAMA3,
    "link": 450,
    "network": 400,
}

GPUS: Mapping[str, Gpu] = {
    "a100-40g": Gpu(memory=40, bandwidth=1555, **_A100),
    "a100-80g": Gpu(memory=80, bandwidth=2039, **_A100),
    "h100-80g": Gpu(memory=80, bandwidth=3350, **_H100),
    "h200": Gpu(memory=140, bandwidth=4800, **_H100),
    "l40s": Gpu(memory=45, peak=PEAK_TFLOPS["L40S"], bandwidth=864),
    "v100-32g": Gpu(memory=32, peak=PEAK_TFLOPS["V100"], bandwidth=900),
    "cpu": Gpu(memory=None),
}
