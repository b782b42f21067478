"""Many mixed predictions at once, each with rows and an id of its own, each answer compared with the truth."""
