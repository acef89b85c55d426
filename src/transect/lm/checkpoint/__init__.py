"""What the files of a checkpoint are, before its network is built."""
