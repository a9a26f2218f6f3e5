"""Runs the setup flows of setup.json in a terminal or from a file of answers, and writes the instance they yield."""
