"""`pixvox narrate`: reads the captions of a dataset aloud with a synthetic voice."""
