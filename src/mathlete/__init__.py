"""Train, run and grade language models on olympiad mathematics."""
