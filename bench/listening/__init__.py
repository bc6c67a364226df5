"""Listening tests: what raters answered in a page's test, scored; and how many answers it takes."""
