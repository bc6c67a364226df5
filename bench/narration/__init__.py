"""Reads the captions of a dataset aloud: which, by whom, and into which files."""
