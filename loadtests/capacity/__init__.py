"""From CPU per request, measured in each process, to the machines that a rate of predictions needs."""
