"""What shall be trained, and from where: configuration, and the weights that a run starts from."""
