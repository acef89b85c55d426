"""Tables that people bring, of any kind, read as they are meant."""
