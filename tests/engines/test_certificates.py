"""Only who has a certificate of the run's own authority is a member."""

from __future__ import annotations

import ssl

import pytest

from farm.engines.ray.certificates import Authority


def context(folder, name, purpose, certificate):
    paths = {}
    for part, text in certificate._asdict().items():
        paths[part] = folder / f"{name}-{part}.pem"
        paths[part].write_text(text)
    made = ssl.create_default_context(purpose, cafile=paths["authority"])
    made.load_cert_chain(paths["certificate"], paths["key"])
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def shake(server, client, name):
    """Let both talk until they agree; raises SSLError if they do not."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(there, back, server_side=True),
        client.wrap_bio(back, there, server_hostname=name),
    ]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not ends


def test_members_of_one_run_believe_each_other(tmp_path):
    authority = Authority()
    server = context(tmp_path, "a", ssl.Purpose.CLIENT_AUTH, authority.issue("10.0.0.1"))
    client = context(tmp_path, "b", ssl.Purpose.SERVER_AUTH, authority.issue("10.0.0.2"))
    shake(server, client, "10.0.0.1")


def test_a_member_is_believed_at_its_own_address_only(tmp_path):
    authority = Authority()
    server = context(tmp_path, "a", ssl.Purpose.CLIENT_AUTH, authority.issue("10.0.0.1"))
    client = context(tmp_path, "b", ssl.Purpose.SERVER_AUTH, authority.issue("10.0.0.2"))
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        shake(server, client, "10.0.0.3")


def test_a_certificate_of_another_run_is_worth_nothing(tmp_path):
    server = context(tmp_path, "a", ssl.Purpose.CLIENT_AUTH, Authority().issue("10.0.0.1"))
    client = context(tmp_path, "b", ssl.Purpose.SERVER_AUTH, Authority().issue("10.0.0.2"))
    with pytest.raises(ssl.SSLError):
        shake(server, client, "10.0.0.1")
