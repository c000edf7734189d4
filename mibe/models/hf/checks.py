"""What of the arguments cannot be, told before torch is imported: quantisation and GPU that this machine has not.

What is left to torch, the number of a GPU say, is told once it is imported and before weights are read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mibe.errors import ModelError, UsageError

FOUR_BIT = "load_in_4bit"
EIGHT_BIT = "load_in_8bit"
COMPUTED = ("float16", "bfloat16", "float32")
"""What bitsandbytes computes in."""

PACKAGES = {"autogptq": "auto_gptq", "gptqmodel": "gptqmodel"}
"""Argument that asks for another quantiser → its package."""

GPU_DEVICES = ("nvidiactl", "dxg", "kfd", "nvmap")
"""One of these is under Linux's /dev where torch may find a "cuda" device: NVIDIA's, WSL's, AMD's, a Jetson's."""

DEVICES = Path("/dev")


def check(values: Mapping[str, Any]) -> None:
    """Raise `UsageError` for arguments that do not go together, `ModelError` for what this machine has not."""
    _check_quantisation(values)
    for argument, package in PACKAGES.items():
        if values.get(argument) and find_spec(package) is None:
            raise ModelError(f"{argument} needs the package {package}, which is not installed")
    device = values.get("device") or ""
    if device.startswith("cuda") and sys.platform == "linux" and not _may_have_gpu():
        raise ModelError(
            f"device={device}: this machine has 0 CUDA devices that torch can use (there is none under {DEVICES}); "
            "device=cpu is the CPU"
        )


def _check_quantisation(values: Mapping[str, Any]) -> None:
    asked = [name for name in (FOUR_BIT, EIGHT_BIT) if values.get(name)]
    finer = sorted(name for name in values if name.startswith("bnb_4bit_"))
    if len(asked) > 1:
        raise UsageError(f"the model 'hf' takes {FOUR_BIT} or {EIGHT_BIT}, not both")
    if finer and FOUR_BIT not in asked:
        raise UsageError(f"{', '.join(finer)} of the model 'hf' goes with {FOUR_BIT}=true, which is not given")
    if (kind := values.get("bnb_4bit_quant_type", "nf4")) not in ("nf4", "fp4"):
        raise UsageError(f"bnb_4bit_quant_type={kind} of the model 'hf' must be nf4 or fp4")
    if not asked:
        return
    for name, others in (("dtype", ("auto",)), ("bnb_4bit_compute_dtype", ())):
        if values.get(name, COMPUTED[0]) not in (*COMPUTED, *others):
            known = ", ".join((*others, *COMPUTED))
            raise UsageError(f"{name}={values[name]} of the model 'hf' must be one of {known} with {asked[0]}")
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"{asked[0]} needs bitsandbytes, which is not installed: pip install bitsandbytes")
    method = _method_of(Path(values["pretrained"]) / values.get("subfolder", ""))
    if method not in (None, "bitsandbytes"):
        raise ModelError(f"{values['pretrained']} is quantised already, by {method}; leave {asked[0]} out")


def _method_of(folder: Path) -> str | None:
    """By what the weights in a folder are quantised, None where they are not or its configuration cannot be read."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config") or {}
    except (OSError, ValueError, AttributeError):
        # Loading says what is wrong with a configuration.
        return None
    return str(told["quant_method"]) if isinstance(told, dict) and "quant_method" in told else None


def _may_have_gpu() -> bool:
    return any((DEVICES / name).exists() for name in GPU_DEVICES)
