"""The calls of the API, one router per module; each is parsed, asked of one thing, and answered."""
