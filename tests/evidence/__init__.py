"""Programs that test the suite as a whole; each is run by `python -m tests.evidence.NAME`."""
