"""HTTP in, AMQP out: between Nginx and the broker. Knows no model and opens no model file."""
