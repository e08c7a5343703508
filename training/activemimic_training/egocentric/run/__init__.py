"""A run over many videos: stages, executors, status; it can be killed and goes on."""
