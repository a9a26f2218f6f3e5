"""Signing in with a provider: the address to visit, and what it gives in return."""

from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, JsonValue

from iot2mqtt_sdk.contract.setup import OAuthProvider
from iot2mqtt_sdk.contract.templating import Secret
from iot2mqtt_sdk.setup_flow.files import read_model


class ProviderFile(BaseModel):
    """A provider's config/oauth/<provider>.json; what it holds beyond this is for host applications."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    authorization_endpoint: str
    client_id: str
    redirect_uri: str | None = None


def address_of(home: Path, oauth: OAuthProvider, redirect_uri: str | None) -> str | None:
    """Return the address at which the user signs in, None where the provider is not configured.

    Args:
        home: The folder that holds config/oauth.
        oauth: The step's provider.
        redirect_uri: Where the provider leads the user afterwards, in place of the configured address.

    Raises:
        SetupError: The provider's file is malformed.
    """
    file = home / "config" / "oauth" / f"{oauth.provider}.json"
    if not file.is_file():
        return None
    provider = read_model(ProviderFile, file)
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri or provider.redirect_uri or "",
        "scope": " ".join(oauth.scopes or ()),
    }
    return f"{provider.authorization_endpoint}?{urlencode({key: text for key, text in query.items() if text})}"


def session_of(pasted: str) -> dict[str, JsonValue]:
    """Return the session that a pasted code, or an address that holds one, stands for."""
    text = pasted.strip()
    found = {key: values[0] for key, values in parse_qs(urlsplit(text).query).items()}
    return {**found} if "code" in found else {"code": text}


def hide(value: JsonValue) -> JsonValue:
    """Return a session whose texts are secrets."""
    if isinstance(value, dict):
        return {key: hide(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hide(item) for item in value]
    return Secret(value) if isinstance(value, str) else value
