"""The test kit: a user's own actors under every crash and many schedules, in virtual time and without real I/O."""
