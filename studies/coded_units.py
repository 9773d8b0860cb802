"""How often coders find which action units together: the counts from which synthetic pictures take some of theirs.

python studies/coded_units.py dfme=FILE casme3_a=FILE

Counts the combinations in the label sheets of databases on which no weights of the package are tested, by emotion, and
writes `src/mien/synthesis/tables/coded_units.toml`. Combinations with a unit that synthetic faces cannot show are left
out, and so are those found once only.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from mien.datasets.action_units import parse_action_units
from mien.datasets.label_sheet import read_label_sheet
from mien.datasets.layout import layout
from mien.synthesis.timeline import action_units

TABLE = Path(__file__).resolve().parents[1] / "src" / "mien" / "synthesis" / "tables" / "coded_units.toml"
EMOTIONS = {"sad": "sadness", "happy": "happiness"}
FEWEST = 2
HEAD = """\
# Which action units coders found together, and how often, by emotion, in the label sheets of
# {sheets}.
# Made by `python studies/coded_units.py`. Combinations of units that synthetic faces can show, found at least twice. A
# side letter is the person's own.
"""


def combination(text: str) -> str | None:
    """Return units in ascending order as one label; None where synthetic faces cannot show them."""
    units = sorted(set(parse_action_units(text)), key=lambda unit: unit[1])
    if not units or any(f"AU{number}" not in action_units() for _, number in units):
        return None
    return "+".join(f"{side if side in ('L', 'R') else ''}{number}" for side, number in units)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheets", nargs="+", metavar="NAME=FILE")
    counts: dict[str, Counter[str]] = {}
    sources = []
    for text in parser.parse_args().sheets:
        name, _, file = text.partition("=")
        rows = read_label_sheet(Path(file), layout(name), name).rows
        sources.append(f"{name} ({len(rows)} rows)")
        for row in rows:
            emotion = row["emotion"].strip().lower()
            if found := combination(row.get("action_units", "")):
                counts.setdefault(EMOTIONS.get(emotion, emotion), Counter())[found] += 1
    lines = [HEAD.format(sheets=" and ".join(sources))]
    for emotion in sorted(counts):
        kept = sorted(((n, c) for c, n in counts[emotion].items() if n >= FEWEST), key=lambda item: (-item[0], item[1]))
        lines.append(f"[{emotion}]\nshown = [" + ", ".join(f'["{c}", {n}]' for n, c in kept) + "]\n")
    TABLE.write_text("\n".join(lines), encoding="utf-8")
    print(f"{TABLE.name}: {', '.join(f'{name} {sum(c.values())}' for name, c in sorted(counts.items()))}")


if __name__ == "__main__":
    main()
