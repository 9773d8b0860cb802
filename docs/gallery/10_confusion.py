"""A confusion matrix.

Leave-one-subject-out on synthetic flow pictures of twenty people. The matrix counts the clips of all folds together;
UF1 is computed from it.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.synthesis.flow_pictures import flow_corpus


def draw() -> Figure:
    """Rows are the truth, columns the answers of a linear classifier."""
    corpus = flow_corpus(120, seed=3)
    x = corpus.pictures(centred=True).reshape(120, -1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    answers = cross_val_predict(model, x, corpus.labels, groups=corpus.subjects, cv=LeaveOneGroupOut())
    counts = confusion_matrix(corpus.labels, answers)
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.imshow(counts / counts.sum(1, keepdims=True), cmap="Greens", vmin=0, vmax=1.2)
    for (row, column), count in np.ndenumerate(counts):
        axis.text(column, row, str(count), ha="center", va="center")
    axis.set_xticks(range(3), corpus.classes)
    axis.set_yticks(range(3), corpus.classes)
    axis.set(xlabel="answer", ylabel="truth")
    score = f1_score(corpus.labels, answers, average="macro")
    axis.set_title(f"leave one subject out, UF1 {score:.3f}, pooled over folds", fontsize=9)
    return figure
