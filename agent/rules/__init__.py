"""Rules: which of them count, and what becomes of their verdicts."""
