"""Running the gateway: outside the flow, it starts the processes that the flow consists of."""
