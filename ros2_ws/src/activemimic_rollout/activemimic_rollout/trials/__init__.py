"""Which scenes are tried, what came of it, and what may be concluded: plans, results, statistics."""
