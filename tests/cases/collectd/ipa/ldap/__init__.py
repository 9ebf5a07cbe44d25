"""Stands for the package: a directory that never changes, in pages of two."""

from ldap.controls.pagedresults import SimplePagedResultsControl

SCOPE_SUBTREE = 2
_ENTRIES = {
    "cn=groups,cn=accounts": [{} for _ in range(5)],
    "cn=users,cn=accounts": [{}, {"nsAccountLock": [b"TRUE"]}, {"nsAccountLock": [b"FALSE"]}],
    "cn=staged users,cn=accounts,cn=provisioning": [
        {"fasStatusNote": [b"active"]},
        {"fasStatusNote": [b"spamcheck_denied"]},
        {"fasStatusNote": [b"unheard"]},
        {},
    ],
}


class _Connection:
    def __init__(self, uri):
        assert uri == "ldaps://ipa1.example.org"
        self._found = {}

    def sasl_gssapi_bind_s(self, authz_id):
        assert authz_id == ""

    def search_ext(self, base, scope, filters, attrlist, serverctrls):
        place, _, root = base.rpartition(",dc=example,")
        assert (scope, root) == (SCOPE_SUBTREE, "dc=org")
        start = int(serverctrls[0].cookie or 0)
        entries = _ENTRIES[place]
        more = str(start + 2) if start + 2 < len(entries) else ""
        self._found[len(self._found)] = entries[start : start + 2], more
        return len(self._found) - 1

    def result3(self, number):
        entries, more = self._found[number]
        control = SimplePagedResultsControl(False, 2, more)
        return 101, [(f"uid={place}", entry) for place, entry in enumerate(entries)], number, [object(), control]


def initialize(uri):
    return _Connection(uri)
