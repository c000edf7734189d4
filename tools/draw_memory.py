"""Draw docs/images/cost.svg: the published memory of a 70B model beside what its weights and its cache take.

python tools/draw_memory.py docs/images/cost.svg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from mibe.forecast.hardware import GIB, SHAPES
from mibe.published.memory import published_memory

GB = 1e9
TOKENS = 4096
LEFT, WIDTH, ROW, MOST = 250, 400, 34, 160
WEIGHTS, CACHE, SAID = "#2a66c4", "#d9480f", "#98a2b3"

Bar = tuple[str, Sequence[tuple[float, str]]]
"""Name, and the pieces with their colours, in GB of 10^9 bytes."""


def bars() -> list[Bar]:
    """The published figure in both readings of its unit, and two models by arithmetic."""
    [said] = published_memory()
    found: list[Bar] = [
        (f"{said.value} “{said.unit}”, if GB", [(said.value, SAID)]),
        (f"{said.value} “{said.unit}”, if GiB", [(said.value * GIB / GB, SAID)]),
    ]
    for name, title in (("llama2-70b", "LLaMA-2 70B (Me-LLaMA)"), ("llama3-70b", "LLaMA-3 70B")):
        shape = SHAPES[name]
        cache = TOKENS * shape.cache_bytes("bfloat16") / GB
        found.append((title, [(shape.weight_bytes("bfloat16") / GB, WEIGHTS), (cache, CACHE)]))
    return found


def svg() -> str:
    """The picture."""
    height = 64 + ROW * len(bars())
    title = f"Memory at batch 1 in GB (10^9 bytes): weights in bfloat16 (blue), cache of {TOKENS:,} tokens (orange)"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="{escape(title)}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in range(0, MOST + 1, 40):
        x = LEFT + WIDTH * tick / MOST
        drawn.append(f'<path d="M{x:.1f} 34V{height - 26}" stroke="#ddd"/>')
        drawn.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{tick}</text>')
    for number, (name, pieces) in enumerate(bars()):
        y, x = 42 + ROW * number, float(LEFT)
        drawn.append(f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        for value, colour in pieces:
            wide = WIDTH * value / MOST
            drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="20" fill="{colour}"/>')
            x += wide
        shown = " + ".join(f"{value:.1f}" for value, _ in pieces)
        drawn.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{shown}</text>')
    return "\n".join([*drawn, "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(svg(), encoding="utf-8")
