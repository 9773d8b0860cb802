"""The command line: a thin shell over public functions of the same names."""
