"""Secrets of plugins, to be read only."""

from __future__ import annotations

from ..validators import PanoptesValidators

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class PanoptesSecretsStore:
    """Reads secrets; what would change one does nothing."""

    def __init__(self, context: Any) -> None:
        """`context` may have a function `secret`, which returns the secret of a name, or None."""
        self._lookup: Callable[[str], str | None] | None = getattr(context, "secret", None)

    def get(self, key: str) -> str | None:
        assert PanoptesValidators.valid_nonempty_string(key), "key must be a non-empty str"
        return None if self._lookup is None else self._lookup(key)

    def get_by_site(self, secret_name: str, site: str, fallback_to_default: bool = True) -> str | None:
        """Returns the secret `secret_name:site`, or that of the site `default`."""
        assert PanoptesValidators.valid_nonempty_string(secret_name), "secret_name must be a non-empty str"
        assert PanoptesValidators.valid_nonempty_string(site), "site must be a non-empty str"
        found = self.get(f"{secret_name}:{site}")
        if found is None and fallback_to_default:
            found = self.get(f"{secret_name}:default")
        return found

    def set(self, key: str, value: str, expire: int | None = None) -> None:
        """Does nothing."""

    def delete(self, key: str) -> None:
        """Does nothing."""

    def set_add(self, set_name: str, member: str) -> None:
        """Does nothing."""

    def set_members(self, set_name: str) -> None:
        """Does nothing."""
