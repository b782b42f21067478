"""The prediction path of a replica: from POST /predict to a batch on the broker, and back."""
