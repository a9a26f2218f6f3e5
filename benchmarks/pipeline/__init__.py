"""Measures the stages of the pipeline beside others that do the same work, in one run."""
