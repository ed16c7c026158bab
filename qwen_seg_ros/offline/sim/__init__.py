"""Rendered tabletop scenes with exact truth (MuJoCo)."""
