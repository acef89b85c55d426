"""What a study can and cannot say, and what it costs, before anything is computed."""
