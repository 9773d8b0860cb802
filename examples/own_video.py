"""Your own video from Python: every short expression with its class, or the reason why it has none.

python examples/own_video.py VIDEO WEIGHTS [TABLE.csv]
"""

from __future__ import annotations

import sys
from pathlib import Path

from mien.export import write_csv
from mien.recognition import recognise
from mien.recognition.wording import NOT, error_rate, trained_on


def main(video: str, weights: str, table: str = "") -> int:
    answer = recognise(video, weights)
    for event in answer.events:
        named = event.label or "not named: " + event.abstained[0].text
        print(f"person {event.person}  {event.onset.seconds:7.2f} s  {1000 * event.seconds:4.0f} ms  {named}")
    for reason in answer.reasons:
        print(reason.text)
    print(trained_on(answer.card), error_rate(answer.card), NOT)
    if table:
        write_csv(answer, Path(table))
    return len(answer.events)


if __name__ == "__main__":
    main(*sys.argv[1:])
