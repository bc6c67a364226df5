"""Scenes: pictures composed by code, captions in people's variety, natural synthetic speech.

The test split ships with the package; the training split is built from the same world by seeds.
"""
