"""The fault suite: the stack as ``make up`` starts it, under load, while its processes are killed and frozen."""
