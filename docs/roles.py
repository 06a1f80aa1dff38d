"""Docstrings speak of other names in Sphinx' way; on the site those become links."""

from __future__ import annotations

import re

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod|exc):`(~?)([\w.]+)`")


class Roles(Extension):
    """Turns ``:class:`~argo_mw.Argo``` into code and double backquotes into single ones."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            text = _ROLE.sub(lambda m: f"`{m[2].rpartition('.')[2]}`", obj.docstring.value)
            obj.docstring.value = re.sub(r"``([^`\n]+)``", r"`\1`", text)
