"""Where a network looked.

Integrated gradients show which pixels of the input raised the score of the class. Such a picture explains the
network, not the face, and does not prove that the prediction is right.
"""

import tempfile
from pathlib import Path

from matplotlib.figure import Figure

import mien
from mien.recognition.saliency import figure
from mien.synthesis.flow_images import write_flow_images


def draw() -> Figure:
    """Saliency of the weights that come with the package, for one synthetic flow picture."""
    classifier, card = mien.load_checkpoint("shipped")
    with tempfile.TemporaryDirectory() as folder:
        write_flow_images(Path(folder), subjects=3, clips_per_subject=3, seed=1)
        clip = mien.open_dataset("flow_images", folder).clips()[0]
        return figure(mien.explain(classifier, card, clip))
