"""The contract as data and types; imports nothing else of this project."""
