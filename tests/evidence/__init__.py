"""Programs that prove something about the suite; each is run by `python -m tests.evidence.NAME`."""
