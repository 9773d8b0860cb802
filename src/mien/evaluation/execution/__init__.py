"""How the folds of a run are executed: in processes, stacked on one device, or on Ray."""
