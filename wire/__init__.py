"""What two processes must agree on to talk: messages, topology, RPC, errors, settings, telemetry."""
