"""Referring expressions from scene truth."""
