"""How modules want TLS: without a look at the certificate, unless they ask for one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl


def context(
    verify: bool = False, ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None
) -> ssl.SSLContext:
    """Returns a client's context; a file of authorities is always checked against. Raises `OSError`, `ssl.SSLError`."""
    # Here, for most modules never need its memory.
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        made.load_verify_locations(ca_file)
    elif verify:
        made.load_default_certs()
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if cert_file:
        made.load_cert_chain(cert_file, key_file or None)
    return made
