"""Baseline and after, measured: what each layer gains and costs."""
