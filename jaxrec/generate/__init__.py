"""Generative recommendation: items as short codes (semantic ids), and networks that write the code of the next item."""
