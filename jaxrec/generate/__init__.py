"""Generative recommendation: items as short codes (semantic ids), and networks that generate that of the next item."""
