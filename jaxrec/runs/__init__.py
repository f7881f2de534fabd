"""The stages of the pipeline as functions: a config in, data out."""
