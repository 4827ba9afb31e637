"""Measures what servers cost: a load generator, an adapter for each server, and what makes figures of it."""
