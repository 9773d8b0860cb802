"""How the folds of a run are executed: in processes of this machine, or on Ray."""
