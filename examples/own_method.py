"""Scores a scikit-learn pipeline, unchanged, with leave-one-subject-out: python own_method.py NAME=FOLDER RUN."""

import sys

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mien

if __name__ == "__main__":
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    mine = mien.estimator_system("my-pipeline", pipeline, recipe=mien.systems()["flow-svm"])
    mien.benchmark(sys.argv[1], mine, sys.argv[2])
    scores = mien.report(sys.argv[2])
    print(f"{scores['system']}: UF1 {scores['uf1']:.3f}, {scores['n_clips']} clips of {scores['n_subjects']} subjects")
