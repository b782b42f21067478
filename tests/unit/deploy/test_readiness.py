import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.native import readiness
from deploy.native.layout import DeploymentError, Layout
from deploy.native.programs import Program
from deploy.native.supervision import ProcessState, Supervisor


class Answering(BaseHTTPRequestHandler):
    """Says what its server was told to say."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ready" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Watched(Supervisor):
    """A supervisor whose processes are in given states."""

    def __init__(self, layout: Layout, **states: str) -> None:
        super().__init__(layout)
        self._states = states

    def processes(self) -> list[ProcessState]:
        return [ProcessState(name, name, state, 1, 0, "") for name, state in self._states.items()]


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def layout(tmp_path: Path, port: int) -> Layout:
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path), "WARREN_PORT": str(port)})
    layout.create()
    return layout


def program(name: str, url: str = "", port: int = 0) -> Program:
    return Program(name, name, 1, ("true",), {}, 1, ready_url=url, ready_port=port)


def test_what_is_not_ready_in_time_is_named_with_the_end_of_its_log(layout: Layout, port: int) -> None:
    (layout.logs / "trainer.log").write_text("first\nno space left\n")
    wanted = [program("api", f"http://127.0.0.1:{port}/ready"), program("trainer", f"http://127.0.0.1:{port}/not")]
    with pytest.raises(DeploymentError) as refused:
        readiness.wait(layout, Watched(layout, api="RUNNING", trainer="RUNNING"), wanted, timeout_s=0.3)
    assert "Not ready: trainer." in str(refused.value)
    assert "no space left" in str(refused.value)


def test_what_cannot_start_is_reported_before_the_time_is_over(
    layout: Layout, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_HOPELESS_S", 0.0)
    wanted = [program("worker", f"http://127.0.0.1:{port}/not")]
    with pytest.raises(DeploymentError, match=r"worker \(BACKOFF\)[\s\S]*no line was written"):
        readiness.wait(layout, Watched(layout, worker="BACKOFF"), wanted, timeout_s=600)


def test_what_fails_and_is_not_waited_for_ends_no_waiting(
    layout: Layout, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_HOPELESS_S", -1.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        free_port = free.getsockname()[1]
    with socket.socket() as late:
        late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        class Listening(Watched):
            def processes(self) -> list[ProcessState]:
                late.bind(("127.0.0.1", free_port))
                late.listen()
                return super().processes()

        wanted = [program("worker", port=free_port)]
        readiness.wait(layout, Listening(layout, worker="RUNNING", nginx="BACKOFF"), wanted, timeout_s=20)


def test_the_broker_alone_is_shown_when_it_is_what_all_wait_for(layout: Layout, port: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        wanted = [program("broker", port=1), program("api", f"http://127.0.0.1:{port}/not")]
        with pytest.raises(DeploymentError) as refused:
            readiness.wait(layout, Watched(layout, broker="RUNNING", api="RUNNING"), wanted, timeout_s=0.2)
    assert "Not ready: broker, api." in str(refused.value)
    assert "--- api" not in str(refused.value)


def test_a_supervisor_that_ended_is_said(layout: Layout, port: int) -> None:
    (layout.logs / "supervisord.log").write_text("exited: out of luck\n")
    with pytest.raises(DeploymentError, match=r"supervisor ended[\s\S]*out of luck"):
        readiness.wait(layout, Supervisor(layout), [program("api", f"http://127.0.0.1:{port}/not")], timeout_s=600)


def test_an_answer_of_somebody_elses_stack_is_not_taken_for_ours(layout: Layout, port: int) -> None:
    with pytest.raises(DeploymentError, match=f"Port {port} was taken by .* while this stack started"):
        readiness.wait(layout, Watched(layout), [program("nginx", f"http://127.0.0.1:{port}/ready")], timeout_s=5)
