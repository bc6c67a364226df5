"""The page of a run: all that it left, to look at and listen to in a browser, from one file."""
