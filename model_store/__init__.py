"""What trainer and predictor agree on to share the model volume.

The trainer writes drafts and publishes them as versions; the predictor reads verified
versions and aliases. docs/model-volume.md says the same in prose. Start with
``publishing.publish``, ``reading.read`` and ``aliases.read_alias``.
"""
