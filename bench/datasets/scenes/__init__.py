"""Scenes: pictures drawn by code, with varied captions and synthetic speech.

The test split ships with the package; the training split is built from the same world by seeds.
"""
