"""Exact points in the code, at which a test lets something happen."""

import importlib


def arm(place, *, when, strike):
    """Call ``strike`` before or after each call of ``place``, ``module:name``."""
    module, _, name = place.partition(":")
    owner = importlib.import_module(module)
    *owners, attribute = name.split(".")
    for part in owners:
        owner = getattr(owner, part)
    original = getattr(owner, attribute)

    def around(*args, **kwargs):
        if when == "before":
            strike()
        result = original(*args, **kwargs)
        if when == "after":
            strike()
        return result

    setattr(owner, attribute, around)
