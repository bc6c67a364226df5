"""What can be evaluated: PixVoxLM, the dataset's own speech, and that speech through a codec."""
