"""What has `fit` and `predict_proba`: the training of networks, support vector machines, and their checkpoints."""
