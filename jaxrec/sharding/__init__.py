"""The mesh, what is laid out how, and the one place that compiles."""
