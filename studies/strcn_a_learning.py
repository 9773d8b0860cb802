"""Why STRCN-A learns little from few clips: does it fit those it is trained on, and is the face in the way?

python studies/strcn_a_learning.py NAME=FOLDER [--epochs 30] [--out FILE]

`preset=small`, the four classes of the paper, one subject left out at a time. The input is taken as it is, and less its
first frame, so that whatever stands still is grey. The accuracy on training clips is taken with the stored statistics
of batch normalisation, as in use, and with those of the clips at hand: they differ where training was too short.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from measure import arguments, publish

from mien.classifiers.net import NetClassifier
from mien.datasets.labels import label_map, samples
from mien.evaluation.metrics import accuracy, uf1
from mien.preprocessing.inputs import ArrayInputs
from mien.preprocessing.prepare import clips_of, prepare_array
from mien.systems import system

N_CLASSES = len(label_map("strcn4").classes)


def held_out(x: NDArray[np.uint8], y: NDArray[np.int64], subjects: NDArray[np.str_], epochs: int) -> str:
    """Train without each subject; return a row of the table."""
    chosen = system("strcn-a")
    parameters = chosen.with_parameters({"preset": "small", "epochs": epochs}, ("frames",))
    answers, losses, stored, at_hand = np.zeros_like(y), [], [], []
    for subject in np.unique(subjects):
        out = subjects == subject
        classifier = chosen.build(N_CLASSES, parameters)
        assert isinstance(classifier, NetClassifier)
        train = ArrayInputs(x[~out], x.shape[1])
        classifier.fit(train, y[~out], [("", name) for name in subjects[~out]])
        answers[out] = classifier.predict_proba(ArrayInputs(x[out], x.shape[1])).argmax(1)
        losses.append(classifier.curves[0][-1])
        stored.append(accuracy(y[~out], classifier.predict_proba(train).argmax(1)))
        with torch.no_grad():
            logits = classifier.models[0].train()(torch.from_numpy(x[~out, 0]).float())
        at_hand.append(accuracy(y[~out], logits.argmax(1).numpy()))
    fitted = f"{np.mean(losses):.3f} | {np.mean(stored):.3f} | {np.mean(at_hand):.3f}"
    return f"{fitted} | {uf1(y, answers, N_CLASSES):.3f} | {accuracy(y, answers):.3f} |"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = samples(clips_of(given.data), "strcn4")
    recipe = system("strcn-a").recipe("frames", {"preset": "small"})
    arrays = [prepare_array(sample.clip, recipe)[1] for sample in kept]
    x = np.stack([array for array in arrays if array is not None])
    assert len(x) == len(kept), "an input could not be prepared"
    y = np.array([sample.label for sample in kept])
    subjects = np.array([sample.clip.subject for sample in kept])
    moved = np.clip(127.5 + x.astype(np.float32) - x[:, :, :1], 0, 255).astype(np.uint8)
    lines = [
        f"{len(x)} clips of {len(np.unique(subjects))} subjects, {given.epochs} epochs.",
        "",
        "| input | loss, last epoch | accuracy on training clips | by their own statistics | UF1, others | accuracy |",
        "|---|---|---|---|---|---|",
        f"| as it is | {held_out(x, y, subjects, given.epochs)}",
        f"| less its first frame | {held_out(moved, y, subjects, given.epochs)}",
    ]
    publish(lines, given.out)


if __name__ == "__main__":
    main()
