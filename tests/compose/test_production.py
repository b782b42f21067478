"""The page for production: TLS by Nginx itself, and a backup that can be restored."""

import re
import ssl
import subprocess
from pathlib import Path

import httpx

from tests.acceptance.stack import Client
from tests.compose.containers import Compose, wait_for
from tests.compose.load import TRAINING
from tests.source_tree import CHECKOUT

PAGE = (CHECKOUT / "docs" / "compose.md").read_text()


def section(heading: str, language: str) -> list[str]:
    """The blocks of one language in one section of the page."""
    text = re.split(r"^###? ", PAGE.split(f"\n### {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_nginx_speaks_tls_with_the_lines_of_the_page(compose: Compose, tmp_path: Path) -> None:
    [lines] = section("TLS", "nginx")
    tmp_path.chmod(0o755)
    (tmp_path / "warren.conf").write_text(lines)
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(
        [*openssl, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    key.chmod(0o644)
    name = f"{compose.project}-tls"
    run = ("docker", "run", "-d", "--rm", "--name", name, "--network", f"{compose.project}_edge", "--read-only")
    mounts = ("--tmpfs", "/tmp", "-v", f"{tmp_path}:/etc/nginx/warren.d:ro")
    compose.run(*run, *mounts, "warren/nginx:latest")
    try:
        address = compose.inspect(name)["NetworkSettings"]["Networks"][f"{compose.project}_edge"]["IPAddress"]
        # The certificate is for the published address, not for the container's own.
        context = ssl.create_default_context(cafile=str(certificate))
        context.check_hostname = False

        def answer() -> httpx.Response | None:
            try:
                return httpx.get(f"https://{address}:8443/livez", verify=context, trust_env=False)
            except httpx.HTTPError:
                return None

        wait_for(lambda: (got := answer()) is not None and got.status_code == 200, "an answer over TLS", 20)
        final = answer()
        assert final is not None
        assert final.headers["strict-transport-security"].startswith("max-age=")
    finally:
        compose.run("docker", "rm", "-f", name)


def test_a_backup_is_restored_into_a_stack_that_was_never_started(
    compose: Compose, client: Client, tmp_path: Path
) -> None:
    client.trained(model="saved", **TRAINING)
    client.call("PUT", "/models/saved/aliases/stable", 200, json={"version": 1})
    paths = ("/models/saved", "/jobs?model=saved", "/keys")
    before = [client.call("GET", path, 200) for path in paths]
    backup, restore = (block.replace("warren_", f"{compose.project}_") for block in section("Backups", "sh"))
    backup, restore = (block.replace("backup/", f"{tmp_path}/").replace("$PWD/", "") for block in (backup, restore))
    compose.run("bash", "-euo", "pipefail", "-c", backup, timeout_s=120)
    compose("down", "-v")
    compose.run("bash", "-euo", "pipefail", "-c", restore, timeout_s=300)
    assert [client.call("GET", path, 200) for path in paths] == before
    assert client.predict(model="saved", version="stable", instances=[[5.1, 3.5, 1.4, 0.2]])["version"] == 1
    assert client.trained(model="saved", **TRAINING)["version"] == before[0]["versions"][0]["version"] + 1
