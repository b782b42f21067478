"""API keys: who may call what. Between a request's headers and its route."""
