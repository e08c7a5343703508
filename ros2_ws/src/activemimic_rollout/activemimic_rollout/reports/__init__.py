"""What is shown of trials and recordings: figures, videos, pages."""
