"""AES-256-GCM, as the package ``cryptography`` has it: an extra, so it is imported when the first cipher is made."""

import os
from typing import TYPE_CHECKING

from persistence.errors import KeysUnusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES, TAG_BYTES = 12, 16


class Cipher:
    """Seals data with one secret. Each time with a new random nonce, so that equal data can't be told by its look."""

    __slots__ = ("_aes",)

    def __init__(self, secret: bytes) -> None:
        """Use a secret of 32 bytes.

        Raises:
            KeysUnusable: ``cryptography`` is not installed.
        """
        self._aes = _aes_of(secret)

    def seal(self, data: bytes, about: bytes) -> bytes:
        """Return nonce and ciphertext; it opens only with the same ``about``, which is not in it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, data, about)

    def open(self, sealed: bytes, about: bytes) -> bytes | None:
        """Return the data; None: it was not sealed by this cipher, or about this, or is not as it was."""
        from cryptography.exceptions import InvalidTag  # there is an instance, so it is installed

        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            return None
        try:
            return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except InvalidTag:
            return None


def _aes_of(secret: bytes) -> "AESGCM":
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "cryptography":
            raise
        raise KeysUnusable(
            "personal data is encrypted by cryptography: pip install 'understudy[encryption]'"
        ) from error
    return AESGCM(secret)
