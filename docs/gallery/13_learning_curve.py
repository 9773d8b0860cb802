"""A learning curve.

How many people does a method need? The training set grows from 4 to 64 synthetic people, and 20 others are the test
set. The band spans three random choices of the training people.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.synthesis.flow_pictures import flow_corpus


def draw() -> Figure:
    """UF1 of a linear classifier of flow pictures against the number of people it has seen."""
    corpus = flow_corpus(84 * 6, seed=1)
    x = corpus.pictures(centred=True).reshape(len(corpus.labels), -1)
    test = corpus.subjects >= 64
    rng = np.random.default_rng(0)
    sizes = (4, 8, 16, 32, 64)
    scores = []
    for size in sizes:
        for _ in range(3):
            chosen = np.isin(corpus.subjects, rng.choice(64, size, replace=False))
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
            model.fit(x[chosen], corpus.labels[chosen])
            scores.append(f1_score(corpus.labels[test], model.predict(x[test]), average="macro"))
    drawn = np.reshape(scores, (len(sizes), 3))
    figure = Figure(figsize=(5.6, 3), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(sizes, drawn.min(1), drawn.max(1), color="#0f766e", alpha=0.2)
    axis.plot(sizes, drawn.mean(1), marker="o", color="#0f766e")
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, list(map(str, sizes)))
    axis.set(xlabel="people in training, six clips each", ylabel="UF1 on 20 other people", ylim=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
    return figure
