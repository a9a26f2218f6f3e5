"""A broker that speaks TLS: one with the right certificate, and one with a stranger's."""

import asyncio
import ssl
import tempfile
from pathlib import Path

from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.environment import ask
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.tls import TlsFront
from iot2mqtt_conformance.together import together

ATTEMPT = {"tls.open", "tls.failed", "tls.plain"}


async def play(stage: Stage) -> None:
    """Launch once with each broker."""
    if "tls" not in stage.declaration.features:
        return
    with tempfile.TemporaryDirectory(prefix="iot2mqtt-tls-") as name:
        folder = Path(name)
        right, foreign = await asyncio.to_thread(_certificates, folder)
        await together(_launch(stage, folder, "right", right), _launch(stage, folder, "foreign", foreign))


def _certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Write what the connector needs, and return what a broker that it knows has, and one that it does not know.

    Raises:
        LaunchError: The library that makes certificates is missing.
    """
    try:
        import trustme  # It takes a while, and only some connectors speak TLS.
    except ImportError:
        raise LaunchError("TLS is judged with trustme: run pip install 'iot2mqtt-sdk[conformance]'") from None
    authority, stranger = trustme.CA(), trustme.CA()
    client = authority.issue_cert("connector@conformance.invalid")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    client.private_key_pem.write_to_path(folder / "client.key")
    contexts = []
    for issuer in (authority, stranger):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        # Who has no certificate is let in: that it presented none is seen, and told as just that.
        context.verify_mode = ssl.CERT_OPTIONAL
        authority.configure_trust(context)
        contexts.append(context)
    return contexts[0], contexts[1]


async def _launch(stage: Stage, folder: Path, name: str, context: ssl.SSLContext) -> None:
    run = f"tls.{name}"
    rigs: list[Rig] = []
    front = TlsFront(
        context=context,
        target=lambda: rigs[0].proxy.port,
        tell=lambda kind, facts: stage.recorder.add(run, kind, **facts),
    )
    variables = {
        "MQTT_PORT": str(front.port),
        "MQTT_TLS": "true",
        "MQTT_CA_CERTS": str(folder / "ca.pem"),
        "MQTT_CERTFILE": str(folder / "client.pem"),
        "MQTT_KEYFILE": str(folder / "client.key"),
    }
    rigs.append(Rig(stage, run, setting=Setting(env=variables)))
    async with front, rigs[0] as rig:
        if name == "foreign":
            await _refusal(rig)
        elif await rig.online():
            await ask(rig, "tls")
        rig.note("tls_end")


async def _refusal(rig: Rig) -> None:
    """Wait for an attempt, and then for a second one, for CONNECT, or for the end of the process."""
    limit = rig.stage.declaration.start_deadline
    first = await rig.until(lambda r: r.kind in ATTEMPT or r.kind == "proc.exit", "a connection", seconds=limit)
    if first is not None and first.kind != "proc.exit":
        await rig.until(
            lambda r: r.kind in {*ATTEMPT, "proc.exit"} or (r.kind == "packet" and r.data["type"] == "CONNECT"),
            "what follows the first connection",
            since=first.i + 1,
            seconds=3,
        )
