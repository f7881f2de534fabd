"""The device mesh, the sharding of arrays, and the only place that compiles."""
