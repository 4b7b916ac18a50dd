"""Measuring: metrics with their spread."""
