"""Two files turn TLS on; what is wrong with them is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.native import commands, nginx, programs, tls
from deploy.native.layout import DeploymentError, Layout
from deploy.native.ports import PortBlock
from tests import certificates

BLOCK = PortBlock(20_400)
CERTIFICATE, KEY = "WARREN_TLS__CERTIFICATE_FILE", "WARREN_TLS__KEY_FILE"


def a_layout(home: Path, certificate: Path | str, key: Path | str) -> Layout:
    named = {CERTIFICATE: str(certificate), KEY: str(key)}
    return Layout.from_environment({"WARREN_HOME": str(home / "home"), "WARREN_PORT": "8522", **named})


def said(layout: Layout) -> str:
    with pytest.raises(DeploymentError) as refused:
        commands.up(layout, {}, print)
    assert not layout.home.exists(), "nothing was made or started"
    return str(refused.value)


def test_without_the_two_files_http_is_spoken(tmp_path: Path) -> None:
    layout = a_layout(tmp_path, "", "")
    assert layout.url == "http://127.0.0.1:8522"
    assert "ssl_certificate" not in nginx.render(layout)
    tls.check(layout.tls)


def test_with_them_https_is_spoken_on_every_port(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path)
    layout = a_layout(tmp_path, certificate, key)
    text = nginx.render(layout)
    assert "listen 127.0.0.1:8522 ssl default_server" in text
    assert f"ssl_certificate {certificate};" in text
    assert f"ssl_certificate_key {key};" in text
    assert "${WARREN" not in text
    assert layout.url == "https://127.0.0.1:8522"
    ready = {program.name: program.ready_url for program in programs.programs(layout, BLOCK, {})}
    assert ready["nginx"] == "https://127.0.0.1:8522/readyz"
    assert ready["api-1"].startswith("http://")


def test_a_renewed_certificate_is_a_changed_configuration(tmp_path: Path) -> None:
    layout = a_layout(tmp_path, *certificates.make(tmp_path))
    before = nginx.render(layout)
    assert nginx.render(layout) == before
    certificates.make(tmp_path)
    assert nginx.render(layout) != before


def test_no_other_process_is_told_or_restarted(tmp_path: Path) -> None:
    assert programs.tuning({CERTIFICATE: "/c", KEY: "/k", "WARREN_TRAIN__ATTEMPTS": "2"}) == {
        "WARREN_TRAIN__ATTEMPTS": "2"
    }


def test_replicas_without_keys_answer_to_the_name_that_the_welcome_shows(tmp_path: Path) -> None:
    layout = a_layout(tmp_path, *certificates.make(tmp_path, "warren.lan"))
    assert "https://warren.lan:8522" in commands._welcome(layout, "off")
    assert commands._own_name(layout, {}) == {"WARREN_API__HOSTS": "warren.lan"}
    assert commands._own_name(layout, {"WARREN_API__HOSTS": "other.lan"}) == {
        "WARREN_API__HOSTS": "other.lan,warren.lan"
    }
    assert commands._own_name(layout, {"WARREN_API__KEYS": "required"}) == {}
    for names in ((), ("localhost",)):
        assert commands._own_name(a_layout(tmp_path, *certificates.make(tmp_path, *names)), {}) == {}
    assert commands._own_name(a_layout(tmp_path, "", ""), {"WARREN_API__HOSTS": "other.lan"}) == {}


@pytest.mark.parametrize(("given", "missing"), [(CERTIFICATE, KEY), (KEY, CERTIFICATE)])
def test_one_file_without_the_other_is_refused(given: str, missing: str) -> None:
    with pytest.raises(DeploymentError, match=f"set {missing} as well, or neither for plain HTTP"):
        Layout.from_environment({given: "/srv/tls/file.pem"})


def test_a_setting_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeploymentError, match=f"WARREN_TLS__CERT is no setting. There are {CERTIFICATE} and {KEY}"):
        Layout.from_environment({"WARREN_TLS__CERT": "/srv/tls/file.pem"})


def test_a_path_that_would_be_more_than_a_path_is_refused() -> None:
    with pytest.raises(DeploymentError, match=f"{KEY}: the path"):
        Layout.from_environment({CERTIFICATE: "/c", KEY: "/k; include /etc/passwd"})


@pytest.mark.parametrize("missing", [CERTIFICATE, KEY])
def test_a_file_that_cannot_be_read_is_named_with_its_setting_and_what_to_do(tmp_path: Path, missing: str) -> None:
    files = dict(zip((CERTIFICATE, KEY), certificates.make(tmp_path), strict=True))
    files[missing] = tmp_path / "away.pem"
    words = said(a_layout(tmp_path, files[CERTIFICATE], files[KEY]))
    assert words.startswith(f"{missing}={tmp_path}/away.pem cannot be read (No such file or directory): ")
    assert "name a file that you can read, or unset" in words


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    certificate, _ = certificates.make(tmp_path)
    assert f"{KEY}={tmp_path} cannot be read (Is a directory)" in said(a_layout(tmp_path, certificate, tmp_path))


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    _, key = certificates.make(tmp_path)
    assert f"{CERTIFICATE}={key} is no certificate in PEM form: name one" in said(a_layout(tmp_path, key, key))


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = certificates.make(tmp_path)
    _, other = certificates.make(tmp_path, stem="other")
    words = said(a_layout(tmp_path, certificate, other))
    assert words.startswith(f"{KEY}={other} cannot be used with {CERTIFICATE}={certificate} (KEY_VALUES_MISMATCH)")
    assert "name two files that belong together" in words


def test_a_certificate_in_place_of_its_key_is_refused(tmp_path: Path) -> None:
    certificate, _ = certificates.make(tmp_path)
    assert f"{KEY}={certificate} cannot be used with" in said(a_layout(tmp_path, certificate, certificate))


def test_a_key_with_a_passphrase_is_refused_instead_of_asking_for_it(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path, passphrase=b"long enough")
    words = said(a_layout(tmp_path, certificate, key))
    assert f"{KEY}={key} has a passphrase" in words
    assert "openssl pkey" in words


def test_the_welcome_names_the_host_of_the_certificate_and_how_to_trust_it(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path, "*.example.org", "models.example.org")
    welcome = commands._welcome(a_layout(tmp_path, certificate, key), "off")
    assert "https://models.example.org:8522/predict" in welcome
    assert f"export CURL_CA_BUNDLE={certificate} SSL_CERT_FILE={certificate}" in welcome
    assert "http://" not in welcome


def test_a_certificate_for_an_address_is_welcomed_by_that(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path)
    assert "https://127.0.0.1:8522/predict" in commands._welcome(a_layout(tmp_path, certificate, key), "off")


def test_a_certificate_without_any_name_is_no_reason_to_fail(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path, nameless=True)
    assert tls.name_and_standing(certificate) == ("", True)
    assert "https://127.0.0.1:8522/predict" in commands._welcome(a_layout(tmp_path, certificate, key), "off")
