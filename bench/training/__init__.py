"""`pixvox train`: trains models by job files, among them those of the zoo."""
