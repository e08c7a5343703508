"""What a run does, read strictly from YAML."""
