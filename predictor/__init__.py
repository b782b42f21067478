"""The predictor service: holds live versions in memory and answers predict requests.

Between RabbitMQ's predict queue and the read-only model volume. Start with ``service``; the way
of one batch is ``batches`` → ``references`` → ``registry`` → ``inference`` → ``answers``.
"""
