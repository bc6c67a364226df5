"""Speech to text: the ASR models that listen to what was spoken."""
