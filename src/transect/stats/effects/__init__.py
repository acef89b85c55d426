"""Effects of design factors, and predictions of what was left out."""
