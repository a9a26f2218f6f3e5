"""The mutants, by area: each breaks one clause in one way, and as little else as can be."""
