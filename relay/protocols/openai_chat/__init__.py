"""OpenAI's Chat Completions: what customers speak to us, and what most vendors speak."""
