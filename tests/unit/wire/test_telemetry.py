import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.rabbit import wait_until
from wire import settings, telemetry


@pytest.fixture
def reasons() -> dict[str, str]:
    return {}


@pytest.fixture
def probe(reasons: dict[str, str]) -> Iterator[httpx.Client]:
    server = telemetry.start_probe_server(settings.Process(), lambda: reasons)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client
    server.close()


def test_a_living_process_says_so(probe: httpx.Client) -> None:
    assert probe.get("/livez").json() == {"status": "alive"}


def test_a_ready_process_says_so(probe: httpx.Client) -> None:
    answer = probe.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": {}})


def test_a_process_that_lacks_something_says_what(probe: httpx.Client, reasons: dict[str, str]) -> None:
    reasons["broker"] = "not connected"
    answer = probe.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "reasons": {"broker": "not connected"}}


def test_metrics_are_prometheus_text(probe: httpx.Client) -> None:
    telemetry.observe_rpc("a.queue", 0.004)
    answer = probe.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'warren_rpc_seconds_count{queue="a.queue"} 1.0' in answer.text
    assert "process_resident_memory_bytes" in answer.text


def test_other_paths_are_unknown(probe: httpx.Client) -> None:
    assert probe.get("/").status_code == 404


def test_a_broken_readiness_check_is_not_ready() -> None:
    def broken() -> dict[str, str]:
        raise RuntimeError("no")

    server = telemetry.start_probe_server(settings.Process(), broken)
    answer = httpx.get(f"http://127.0.0.1:{server.port}/readyz", trust_env=False)
    server.close()
    assert answer.status_code == 503
    assert "RuntimeError" not in answer.text


def test_slow_probers_beyond_the_bound_are_turned_away() -> None:
    asked, go = threading.Semaphore(0), threading.Event()

    def slow() -> dict[str, str]:
        asked.release()
        go.wait(10)
        return {}

    server = telemetry.start_probe_server(settings.Process(), slow)
    probers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    for prober in probers:
        prober.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
    for _ in probers:
        assert asked.acquire(timeout=10)
    with socket.create_connection(("127.0.0.1", server.port)) as ninth:
        ninth.settimeout(10)
        assert ninth.recv(1) == b""
    go.set()
    for prober in probers:
        assert prober.recv(12) == b"HTTP/1.0 200"
        prober.close()

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{server.port}/livez", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, "places are free again")
    server.close()


def test_threads_that_cannot_be_started_take_no_place(probe: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", no_thread)
        for _ in range(telemetry._MAX_PROBES + 1):
            with pytest.raises(httpx.TransportError):
                probe.get("/livez")
    assert probe.get("/livez").status_code == 200


def test_the_port_is_free_again_after_close() -> None:
    server = telemetry.start_probe_server(settings.Process(), dict)
    server.close()
    again = telemetry.start_probe_server(settings.Process(metrics_port=server.port), dict)
    again.close()


def test_own_metrics_live_in_the_registry() -> None:
    counted = telemetry.counter("test_things", "Things", ["kind"])
    counted.labels("odd").inc()
    telemetry.gauge("test_level", "Level").set(2)
    telemetry.histogram("test_seconds", "Seconds").observe(0.1)
    text = telemetry.render()[0].decode()
    assert 'warren_test_things_total{kind="odd"} 1.0' in text
    assert "warren_test_level 2.0" in text
    assert "warren_test_seconds_count 1.0" in text
