"""Write an answer as questions and answers about its micro-expressions, the lines that MEGC 2025 exchanges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mien.export.tables import write
from mien.recognition.records import Answer

COARSE: Final = ("negative", "positive", "surprise")
"""Classes that the challenge calls coarse."""


def write_questions(answer: Answer, out: Path) -> Path:
    """Write a line of JSON, {"video_id", "video", "question", "answer"}, for each question about a micro-expression.

    Asked are the coarse class, where the weights name one, and the action units, where they were measured. The fine
    class is not: the weights know none. A video with one micro-expression keeps its name; further ones are numbered.

    Args:
        answer: The answer.
        out: The file, `.jsonl`.

    Returns:
        `out`.

    Raises:
        MienError: `out` cannot be written.

    Example:
        >>> path = write_questions(answer, Path("face.jsonl"))  # answer = mien.recognise("face.mkv")
        >>> json.loads(path.read_text().splitlines()[0])["question"]
        'What are the action units?'
    """
    events = [event for track in answer.tracks for event in track.events if event.kind == "micro"]
    lines = []
    for number, event in enumerate(events, 1):
        video = answer.video.name if len(events) == 1 else f"{answer.video.name}-{number}"
        said = []
        if event.label in COARSE:
            said.append(("What is the coarse expression class?", event.label))
        if event.units:
            present = sorted((unit for unit in event.units if unit.present), key=lambda unit: unit.unit)
            question = "What is the action unit?" if len(present) == 1 else "What are the action units?"
            said.append((question, ", ".join(unit.name.lower() for unit in present) or "none"))
        for place, (question, text) in enumerate(said, 1):
            entry = {"video_id": f"{video}_{place}", "video": video, "question": question, "answer": text}
            lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    return write(out, "".join(lines))
