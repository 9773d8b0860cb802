"""Scores a scikit-learn pipeline, unchanged, with leave-one-subject-out: python own_method.py NAME=FOLDER RUN."""

import sys
from pathlib import Path

from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.datasets import open_specs
from mien.evaluation.report import render_report, report_many
from mien.evaluation.run import benchmark
from mien.systems import estimator_system, system

if __name__ == "__main__":
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    mine = estimator_system("my-pipeline", pipeline, recipe=system("flow-svm"))
    benchmark(open_specs([sys.argv[1]]), mine, Path(sys.argv[2]), labels="own")
    Console().print(render_report(report_many([Path(sys.argv[2])])[0]))
