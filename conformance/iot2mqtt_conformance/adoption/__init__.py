"""For those who come with a connector of their own: a first conformance.toml, and connectors that already run."""
