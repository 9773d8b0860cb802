"""DFME, the training part: a table is all there is to it."""

from importlib.resources import files

TABLE = files("mien_example_plugin") / "dfme.toml"
