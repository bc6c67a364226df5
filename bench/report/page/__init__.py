"""The page of a run: tables, charts, pictures and speech in one HTML file."""
