"""Benches: ratios against peers in the same run, medians, one flat JSON object at the end."""
