"""Deprecation: arguments of hooks that will go."""

from __future__ import annotations

from collections.abc import Mapping


def deprecated_arguments(**replacements: str) -> Mapping[str, Warning]:
    """Warnings for arguments of a hook that will go, each with what replaces it.

    An implementation that still names one works, and is warned when its plugin is loaded; the
    warning points at its line. For authors of hooks::

        @hookspec(warn_on_impl_args=deprecated_arguments(colour="name 'shade' instead"))
        def register_colours(colour, shade): ...

    Args:
        replacements: By argument, what to do instead.
    """
    return {
        argument: DeprecationWarning(f"the argument {argument!r} is deprecated: {instead}")
        for argument, instead in replacements.items()
    }
