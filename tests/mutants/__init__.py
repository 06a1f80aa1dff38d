"""Whether tests notice faults: a seeded sample of mutants, each run against the tests of its area."""
