"""Sizes that the training keeps to and a plan reckons with: known without torch."""

from __future__ import annotations

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
"""Of a number in each precision."""

CHUNK = 2048
"""Most targets whose logits are held at a time: 2,048 × 32,000 floats are 262 MB."""
