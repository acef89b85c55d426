"""What models read: stimulus sets, one file each, found by their name."""
