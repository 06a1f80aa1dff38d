"""Pairs of prompts made by program: those that differ in one part, and those said another way."""
