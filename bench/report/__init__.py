"""Shows and writes the frames of a run: terminal, Markdown, LaTeX, CSV, HTML; computes nothing."""
