"""Wire encoders: pure functions from batches to bytes."""
