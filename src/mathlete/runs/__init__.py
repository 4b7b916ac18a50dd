"""Runs: folders that hold a resolved configuration and every result, and survive any death."""
