"""A leaderboard with intervals.

With few subjects, scores are uncertain: each bar has the 95 % interval of a bootstrap over subjects. If intervals
overlap, the order is not a ranking. The run with shuffled labels shows the score of chance.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.evaluation.metrics import bootstrap_interval
from mien.synthesis.flow_pictures import flow_corpus


def draw() -> Figure:
    """UF1 of three ways on the same synthetic clips."""
    corpus = flow_corpus(120, seed=3)
    x = corpus.pictures(centred=True).reshape(120, -1)
    persons = [("synthetic", str(subject)) for subject in corpus.subjects]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    shuffled = np.random.default_rng(0).permutation(corpus.labels)
    entries = {
        "linear": (linear, corpus.labels),
        "nearest neighbours": (make_pipeline(StandardScaler(), KNeighborsClassifier(3)), corpus.labels),
        "linear, shuffled labels": (linear, shuffled),
    }
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axis = figure.subplots()
    for place, (name, (model, labels)) in enumerate(reversed(entries.items())):
        answers = cross_val_predict(model, x, labels, groups=corpus.subjects, cv=LeaveOneGroupOut())
        low, high = bootstrap_interval(labels, answers, persons, metric="uf1")
        score = f1_score(labels, answers, average="macro")
        axis.barh(place, score, color="#9ca3af" if "shuffled" in name else "#0f766e", height=0.6)
        axis.plot([low, high], [place, place], color="#111827", linewidth=1.5)
        axis.text(1.02, place, f"{score:.3f}", va="center")
    axis.set_yticks(range(len(entries)), list(reversed(entries)))
    axis.set(xlim=(0, 1.12), xlabel="UF1, leave one subject out, pooled over folds")
    axis.spines[["top", "right"]].set_visible(False)
    return figure
