"""The gateway in containers: what the one-shot services, the health checks and the rolling update run."""
