"""Simulated Yeelight bulbs."""
