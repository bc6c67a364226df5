"""Speech to text: the ASR models that transcribe generated speech."""
