"""Listening tests: scores the raters' answers, and computes how many answers a test needs."""
