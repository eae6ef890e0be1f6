"""The encryption keys: read from the settings or a file, created at a development start."""

from pathlib import Path

from sqlalchemy import Engine

from portal_server.domain.errors import OperatorError
from portal_server.run.new_files import new_private_file
from portal_server.run.secret_files import SecretFileError, read_secret
from portal_server.run.settings import Settings
from portal_server.storage.encryption import Vault, new_key, parse_key
from portal_server.storage.stored_secrets import unknown_key


class EncryptionKeyError(OperatorError):
    """The file of encryption keys cannot be used. The text has no key."""


def vault_of(settings: Settings) -> Vault:
    """The keys of the setting or, if it is not set, of the file, if there is one.

    Raises:
        EncryptionKeyError: the file cannot be read, others can read it, or it is malformed.
    """
    return Vault(settings.encryption_key_bytes or _read(settings.encryption_keys_file) or ())


def create_missing_key(settings: Settings, engine: Engine) -> Path | None:
    """At a development start: create the file of encryption keys, if there is no key.

    Not for a database with encrypted secrets: its key was lost, and must be restored.

    Returns:
        The new file, or None if none was created.

    Raises:
        EncryptionKeyError: the file cannot be written.
        PortalError: the storage failed.
    """
    file = settings.encryption_keys_file
    if not settings.development or settings.encryption_keys or file.exists():
        return None
    if unknown_key(engine, Vault()):
        return None
    try:
        _write(file, new_key())
    except FileExistsError:  # another process was first
        return None
    except OSError as error:
        text = f"cannot write an encryption key to {file}: {error.strerror}"
        raise EncryptionKeyError(f"{text}; set PORTAL_ENCRYPTION_KEYS_FILE") from None
    return file.resolve()


def _read(file: Path) -> list[bytes] | None:
    name = f"PORTAL_ENCRYPTION_KEYS_FILE: {file}"
    if not file.exists():
        return None
    try:
        lines = read_secret(file).decode("ascii").splitlines()
    except SecretFileError as error:
        raise EncryptionKeyError(f"{name}: {error}") from None
    except UnicodeDecodeError:
        raise EncryptionKeyError(f"{name}: is not a file with one key per line") from None
    keys = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line:
            continue
        try:
            keys.append(parse_key(line))
        except ValueError as error:
            raise EncryptionKeyError(f"{name}: line {number} {error}") from None
    if not keys:
        raise EncryptionKeyError(f"{name}: has no key")
    return keys


def _write(file: Path, key: str) -> None:
    """Create the file as a whole, durably. Raises: FileExistsError and other OSErrors."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_private_file(file) as opened:
        opened.write(f"{key}\n".encode())
