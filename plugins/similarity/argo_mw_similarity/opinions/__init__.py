"""Opinions of models: judged before an answer is served, verified or checked after."""
