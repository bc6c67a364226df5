"""Speech to text: the ASR models that transcribe to what was generated."""
