# SPDX-License-Identifier: Apache-2.0
"""Find the one key pair that a PKCS#11 URI names, and turn what a token says into coded errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from secure_ext.errors import InputError, SecureProvisionError, ToolError, UsageError
from secure_ext.keys.secret_source import SecretKind, SecretSource, SecretWanted
from secure_ext.policy.pkcs11_uri import Pkcs11Uri

MODULE_VARIABLE = "SECURE_PROVISION_PKCS11_MODULE"
"""Environment variable with the path of the module, where the URI has no ``module-path``."""

_WRONG_PIN = {"PinIncorrect", "PinInvalid", "PinLenRange"}
_NO_MORE_PIN = {"PinLocked", "PinExpired", "UserPinNotInitialized"}
_GONE = {
    *("DeviceRemoved", "TokenNotPresent", "TokenNotRecognised", "SlotIDInvalid"),
    *("SessionHandleInvalid", "SessionClosed", "ObjectHandleInvalid", "KeyHandleInvalid"),
}
_CANNOT_SIGN = {
    *("MechanismInvalid", "MechanismParamInvalid", "KeyTypeInconsistent", "KeySizeRange", "FunctionNotSupported"),
    *("UserNotLoggedIn", "ArgumentsBad", "DataLenRange"),
}


@contextlib.contextmanager
def token_session(uri: Pkcs11Uri, secrets: SecretSource, key_number: int, *, login: bool) -> Iterator[Any]:
    """A session with the one token that matches, closed (and logged out of) when the block ends.

    Args:
        uri: names the token.
        secrets: is asked for the PIN.
        key_number: which of the signing keys the token holds, from 1; for the question.
        login: log in, if the token wants that.

    Raises:
        ToolError: SE644 python-pkcs11 is missing, SE646 the module cannot be used; SE654 to SE656 of a token in use.
        UsageError: SE645 no module is named.
        InputError: SE647 no token matches, SE648 several do, SE649 no PIN, SE650 a wrong one, SE651 none is taken.
    """
    place = str(uri)
    module = _module(uri)
    with coded_token_errors(place):
        token = _token(module, uri)
        pin = _pin(token, secrets, SecretWanted(SecretKind.PIN, key_number, place)) if login else None
        with token.open(user_pin=pin) as session:
            yield session


def key_objects(session: Any, uri: Pkcs11Uri, *, private: bool) -> list[Any]:
    """The private or public keys of the token that match the URI."""
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415 (an extra; there, because a session is)

    wanted: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY if private else ObjectClass.PUBLIC_KEY}
    if uri.key_label is not None:
        wanted[Attribute.LABEL] = uri.key_label
    if uri.key_id is not None:
        wanted[Attribute.ID] = uri.key_id
    return list(session.get_objects(wanted))


def the_only_key(found: list[Any], uri: Pkcs11Uri, *, private: bool) -> Any:
    """The one key that was found. Raises InputError SE652 for none, SE653 for several."""
    kind = "private" if private else "public"
    if not found:
        raise InputError(
            "SE652",
            f"the token holds no {kind} key of that name",
            cure="both halves of the pair must be there; see: pkcs11-tool --module MODULE --login --list-objects",
            place=str(uri),
        )
    if len(found) > 1:
        raise InputError(
            "SE653",
            f"{len(found)} {kind} keys of the token match",
            cure="add the id of the key pair to the URI, as in ;id=%01",
            place=str(uri),
        )
    return found[0]


@contextlib.contextmanager
def coded_token_errors(place: str) -> Iterator[None]:
    """Turns the errors of python-pkcs11 into InputError SE650, SE651, ToolError SE654, SE655, SE656."""
    from pkcs11.exceptions import PKCS11Error  # noqa: PLC0415 (an extra; whoever comes here has loaded it)

    try:
        yield
    except PKCS11Error as error:
        raise _coded(type(error).__name__, place) from None


def _coded(name: str, place: str) -> SecureProvisionError:
    if name in _WRONG_PIN:
        return InputError(
            "SE650",
            "the token does not accept the PIN",
            cure="give the right one; after a few wrong ones in a row most tokens lock themselves",
            place=place,
        )
    if name in _NO_MORE_PIN:
        return InputError(
            "SE651",
            f"the token takes no PIN any more ({name})",
            cure="unlock it, or set its PIN, with the tool of its maker",
            place=place,
        )
    if name in _GONE:
        return ToolError(
            "SE654",
            f"the token has gone while it was used ({name})",
            cure="plug it in again, or reach the HSM again, and run the command once more",
            place=place,
        )
    if name in _CANNOT_SIGN:
        return ToolError(
            "SE655",
            f"the token cannot sign in this way with this key ({name})",
            cure="it has to offer CKM_RSA_PKCS_PSS with SHA-256 or CKM_ECDSA, and the key has to be made for signing",
            place=place,
        )
    return ToolError(
        "SE656",
        f"the token failed: {name}",
        cure="see the log of the module; try the key with: pkcs11-tool --module MODULE --login --list-objects",
        place=place,
    )


def _module(uri: Pkcs11Uri) -> Any:
    try:
        import pkcs11  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ToolError(
            "SE644",
            "python-pkcs11, which speaks with tokens, is not installed",
            cure="pip install 'idf-secure-provision[hsm]'",
            place=str(uri),
        ) from None
    path = uri.module_path or os.environ.get(MODULE_VARIABLE)
    if not path:
        raise UsageError(
            "SE645",
            "no PKCS#11 module is named",
            cure=f"set {MODULE_VARIABLE} to the library of the token's maker, or end the URI with ?module-path=FILE",
            place=str(uri),
        )
    try:
        return pkcs11.lib(path)
    except (RuntimeError, OSError) as error:
        raise ToolError(
            "SE646",
            f"the PKCS#11 module {path} cannot be used: {error or type(error).__name__}",
            cure="give the library of the token's maker, made for this kind of machine, and the configuration it needs",
            place=str(uri),
        ) from None


def _token(module: Any, uri: Pkcs11Uri) -> Any:
    found = list(_matching_tokens(module, uri))
    if not found:
        raise InputError(
            "SE647",
            "no token matches",
            cure="plug it in; compare with: pkcs11-tool --module MODULE --list-token-slots",
            place=str(uri),
        )
    if len(found) > 1:
        raise InputError(
            "SE648",
            f"{len(found)} tokens match",
            cure="add what tells them apart to the URI: serial, or slot-id; or unplug the others",
            place=str(uri),
        )
    return found[0]


def _matching_tokens(module: Any, uri: Pkcs11Uri) -> Iterator[Any]:
    from pkcs11 import TokenFlag  # noqa: PLC0415
    from pkcs11.exceptions import TokenNotPresent, TokenNotRecognised  # noqa: PLC0415

    for slot in module.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except (TokenNotPresent, TokenNotRecognised):
            continue
        asked = (
            (uri.slot_id, slot.slot_id),
            (uri.token, token.label),
            (uri.serial, token.serial.decode("utf-8", "replace").strip()),
            (uri.manufacturer, token.manufacturer_id),
            (uri.model, token.model),
        )
        if token.flags & TokenFlag.TOKEN_INITIALIZED and all(wish in (None, found) for wish, found in asked):
            yield token


def _pin(token: Any, secrets: SecretSource, wanted: SecretWanted) -> str | None:
    from pkcs11 import TokenFlag  # noqa: PLC0415

    if not token.flags & TokenFlag.LOGIN_REQUIRED:
        return None
    pin = secrets.secret(wanted)
    if not pin:
        raise InputError(
            "SE649",
            "the token wants a PIN, and there is none and no terminal to ask at",
            cure="put it into SECURE_PROVISION_PIN, give --passphrase-fd, or run the command at a terminal",
            place=wanted.place,
        )
    if not pin.isprintable():  # what is no UTF-8 text among it
        raise _coded("PinInvalid", wanted.place)
    return pin
