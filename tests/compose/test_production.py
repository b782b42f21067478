"""The page for production: TLS and rates by Nginx itself, and a backup that can be restored."""

import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.acceptance.stack import Client
from tests.compose.containers import Compose, wait_for
from tests.compose.load import TRAINING
from tests.source_tree import CHECKOUT

NGINX = "warren/nginx:latest"
RATE = 10
PAGE = (CHECKOUT / "docs" / "compose.md").read_text()


def section(heading: str, language: str) -> list[str]:
    """The blocks of one language in one section of the page."""
    text = re.split(r"^###? ", PAGE.split(f"\n### {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_nginx_speaks_tls_with_the_two_files_of_the_page(compose: Compose, tmp_path: Path) -> None:
    [override] = section("TLS", "yaml")
    [mounted] = re.findall(r'"./tls:(.*?)"', override)
    tmp_path.chmod(0o755)
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run(
        [*openssl, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    key.chmod(0o644)
    with nginx_alone(compose, "-v", f"{tmp_path}:{mounted}") as address:
        # The certificate is for the published address, not for the container's own.
        context = ssl.create_default_context(cafile=str(certificate))
        context.check_hostname = False
        final = first_answer(f"https://{address}:8443/livez", context)
        assert final.headers.get_list("strict-transport-security") == ["max-age=31536000"]
        assert httpx.get(f"http://{address}:8443/livez", trust_env=False).status_code == 421
    certificate.unlink()
    start = f"docker run --rm -v {tmp_path}:{mounted} {NGINX} 2>&1"
    assert "mount a folder with both" in compose.run("sh", "-c", start, check=False)


def test_an_address_gets_the_rate_that_a_variable_names(compose: Compose) -> None:
    with nginx_alone(compose, "-e", f"WARREN_ADDRESS_RATE={RATE}") as address:
        url = f"http://{address}:8080"
        first_answer(f"{url}/livez")
        with httpx.Client(base_url=url, trust_env=False) as asking:
            began = time.monotonic()
            answers = [asking.get("/models") for _ in range(8 * RATE)]
            taken_s = time.monotonic() - began
            health = {asking.get("/livez").status_code for _ in range(4 * RATE)}
    # Without a key a replica says 401: whatever it says has passed.
    passed = [answer for answer in answers if answer.status_code == 401]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(passed) + len(refused) == len(answers)
    assert RATE < len(passed) <= RATE + 2 + RATE * taken_s
    assert (refused[0].json()["code"], refused[0].headers["retry-after"]) == ("rate_limited", "1")
    assert health == {200}


def test_a_rate_that_is_none_is_refused_with_what_it_should_be(compose: Compose) -> None:
    told = compose.run("sh", "-c", f"docker run --rm -e WARREN_ADDRESS_RATE=many {NGINX} 2>&1", check=False)
    assert "give a whole number from 1 to 100000" in told


@contextmanager
def nginx_alone(compose: Compose, *options: str) -> Iterator[str]:
    """Another Nginx on the network of the replicas, without a door: its address there."""
    name, network = f"{compose.project}-alone", f"{compose.project}_edge"
    run = ("docker", "run", "-d", "--rm", "--name", name, "--network", network, "--read-only", "--tmpfs", "/tmp")
    compose.run(*run, *options, NGINX)
    try:
        yield compose.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]
    finally:
        compose.run("docker", "rm", "-f", name)


def first_answer(url: str, verify: ssl.SSLContext | bool = True) -> httpx.Response:
    """What is answered once something listens there and replicas are found."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        try:
            answers.append(httpx.get(url, verify=verify, trust_env=False))
        except httpx.HTTPError:
            return False
        return answers[-1].status_code == 200

    wait_for(answered, f"an answer at {url}", 20)
    return answers[-1]


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
