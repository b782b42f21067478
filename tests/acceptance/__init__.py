"""The stack as make up starts it, seen from outside."""
