# SPDX-License-Identifier: Apache-2.0
"""The signers of keys that are named by a URI, by the kind of the URI (`secure_ext.policy.key_uri`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from secure_ext.keys.secret_source import SecretSource
from secure_ext.keys.signer import Signer
from secure_ext.keys.token_signer import open_token_signer
from secure_ext.policy.key_uri import KeyUri
from secure_ext.policy.pkcs11_uri import Pkcs11Uri

OPENERS: Mapping[type, Callable[[Any, SecretSource, int], Signer]] = {Pkcs11Uri: open_token_signer}


def open_uri_signer(uri: KeyUri, secrets: SecretSource, key_number: int = 1) -> Signer:
    """The signer of a key; the errors are those of its kind (SE644 to SE656 for a token)."""
    return OPENERS[type(uri)](uri, secrets, key_number)
