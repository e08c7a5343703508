"""What a run keeps on disk: checkpoints, the state that it resumes from, its record."""
