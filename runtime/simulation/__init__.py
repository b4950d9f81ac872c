"""The test kit: a user's own actors under crashes of every sort."""
