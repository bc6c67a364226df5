"""Training by job files: the small models of the zoo, made from the scenes dataset."""
