"""The examination of the whole gateway, part by part: what is looked at when something does not work."""
