"""Renders a comparison table: terminal, Markdown, CSV, all from one Polars frame."""
