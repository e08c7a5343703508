"""Which parts of a video show what: segments and instructions by vision-language models, and a semantic filter."""
