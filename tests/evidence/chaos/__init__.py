"""Kills small runs at random, resumes them, and compares every byte."""
