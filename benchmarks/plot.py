"""Draws a report of ``benchmarks/all.py`` as an SVG picture: how many times as fast as Postfix, and where the aim is.

python benchmarks/plot.py REPORT.json PICTURE.svg
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 960, 430, 90, 84, 34
_STYLE = """\
    .card { fill: #ffffff; stroke: #d0d7de; }
    .title { fill: #1f2328; font-size: 17px; font-weight: 600; }
    .name { fill: #1f2328; font-size: 13px; text-anchor: end; }
    .value { fill: #1f2328; font-size: 13px; font-weight: 600; }
    .note { fill: #57606a; font-size: 12px; }
    .grid { stroke: #d0d7de; stroke-width: 1; }
    .one { stroke: #57606a; stroke-width: 1.5; }
    .good { fill: #1a7f37; }
    .short { fill: #9a6700; }
    .aim { stroke: #1f2328; stroke-width: 2; stroke-dasharray: 3 2; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #0d1117; stroke: #30363d; }
      .title, .name, .value { fill: #e6edf3; }
      .note { fill: #9ea7b3; }
      .grid { stroke: #30363d; }
      .one { stroke: #8b949e; }
      .good { fill: #3fb950; }
      .short { fill: #d29922; }
      .aim { stroke: #e6edf3; }
    }"""


def draw(report: Mapping[str, Any]) -> str:
    """The picture of a report (schema postlatch.benchmark/1). ValueError if it has no row that compares rates with Postfix."""
    rows = [row for row in report["rows"] if row["aim"] and row["ratio"] and row["aim"].startswith("≥")]
    if not rows:
        raise ValueError("nothing in the report compares a rate with Postfix")
    aims = [float(row["aim"].split()[1]) for row in rows]
    # One ratio far beyond its aim must not press all others flat: its bar ends at the edge, its number tells.
    most = math.ceil(max([min(row["ratio"], max(aims) + 2) for row in rows] + aims) + 0.5)
    height = _TOP + _ROW * len(rows) + 48
    parts = [_head(height), *_grid(most, height)]
    for number, (row, aim) in enumerate(zip(rows, aims, strict=True)):
        parts += _bar(row, aim, _TOP + number * _ROW, most)
    machine = report["machine"]
    words = f"Medians of {report['rounds']} rounds in turns on {machine['cores']} cores. The dashed line is the aim."
    parts += [f'  <text class="note" x="24" y="{height - 16}">{escape(words)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def _head(height: int) -> str:
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title" \
font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif">
  <title id="title">Postlatch as a multiple of Postfix</title>
  <style>
{_STYLE}
  </style>
  <rect class="card" x="1" y="1" width="{_WIDTH - 2}" height="{height - 2}" rx="10"/>
  <text class="title" x="24" y="34">Postlatch as a multiple of Postfix, same machine, same run</text>"""


def _x(ratio: float, most: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ratio / most


def _grid(most: int, height: int) -> Sequence[str]:
    step = max(1, round(most / 8))
    lines = []
    for ratio in range(0, most + 1, step):
        x = _x(ratio, most)
        lines.append(f'  <line class="grid" x1="{x:.1f}" y1="{_TOP - 14}" x2="{x:.1f}" y2="{height - 40}"/>')
        lines.append(f'  <text class="note" x="{x:.1f}" y="{_TOP - 20}" text-anchor="middle">{ratio} &#215;</text>')
    x = _x(1, most)
    lines.append(f'  <line class="one" x1="{x:.1f}" y1="{_TOP - 14}" x2="{x:.1f}" y2="{height - 40}"/>')
    return lines


def _bar(row: Mapping[str, Any], aim: float, y: int, most: int) -> Sequence[str]:
    ratio = row["ratio"]
    kind = "good" if row["reached"] else "short"
    end = _x(min(ratio, most), most)
    mark = _x(aim, most)
    label = max(end, mark) + 8 if abs(end - mark) < 60 else end + 8
    return [
        f'  <text class="name" x="{_LEFT - 12}" y="{y + 15}">{escape(row["title"])}</text>',
        f'  <rect class="{kind}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="20" rx="3"/>',
        f'  <line class="aim" x1="{mark:.1f}" y1="{y - 4}" x2="{mark:.1f}" y2="{y + 24}"/>',
        f'  <text class="value" x="{label:.1f}" y="{y + 15}">{ratio:.1f} &#215;</text>',
    ]


def _main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    report = json.loads(Path(arguments[0]).read_text("utf-8"))
    Path(arguments[1]).write_text(draw(report), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
