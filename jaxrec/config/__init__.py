"""Configuration: typed sections, strict loading."""
