"""The network that learns: losses, optimiser, adapters, and how they are spread over devices."""
