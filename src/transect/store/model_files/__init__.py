"""The small files and headers of a model's folder."""
