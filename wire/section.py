"""What every branch of the settings tree (settings.py) is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A branch of the tree; unknown names are refused so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
