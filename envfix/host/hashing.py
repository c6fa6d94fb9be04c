"""The sha256 of files on this disk."""

from __future__ import annotations


def sha256_of(path: str) -> str:
    """The sha256 of a file, in hexadecimal; raises ``OSError``."""
    import hashlib  # which loads OpenSSL

    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
