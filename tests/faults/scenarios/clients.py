"""F22 to F24, S01, S06: clients that are slow, wrong, huge or hostile, beside others that must not notice."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil

from tests.faults import hostile
from tests.faults.load import Load
from tests.faults.raw import Answer, Line, request, words_of
from tests.faults.scenarios.playing import Play, Scenario

_RATE = 60.0
_LINES = 4
_GROWTH_BYTES = 50 * 1024 * 1024
_GROWTH_SHARE = 0.05
_NOISE_BYTES = 8 * 1024 * 1024
"""What a small process holds moves by more than a twentieth whatever it is asked."""
_SLOWEST_REFUSAL_S = 0.25
_SMUGGLING = "smuggling:"
_UNOFFERED = (501, 505)
"""HTTP's own words for a transfer encoding, a method and a version that are not offered: no failures."""


@contextmanager
def unharmed(play: Play, most_bytes: int = _GROWTH_BYTES, most_share: float = 0.0) -> Iterator[None]:
    """Beside whatever is done here, others get their right answers, no process ends, and none grows by much.

    That is more than ``most_bytes``, and more than ``most_share`` of what it held before.
    """
    stage = play.stage
    before = {name: (stage.pid(name), _memory(stage.pids(name))) for name in ("api-1", "api-2", "nginx")}
    with Load(stage.url, _RATE) as load:
        yield
    play.judge(load)
    for name, (pid, size) in before.items():
        if stage.pid(name) != pid:
            play.defect(f"{name} was ended")
            continue
        grown = _memory(stage.pids(name)) - size
        play.round.figures["grown_mb"] = max(play.round.figures.get("grown_mb", 0), round(grown / 2**20, 1))
        play.round.figures["grown_share"] = max(play.round.figures.get("grown_share", 0), round(grown / size, 3))
        if grown > max(most_bytes, most_share * size):
            play.defect(f"{name} grew by {grown / 2**20:.1f} MB, from {size / 2**20:.1f} MB")


def _memory(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def note(play: Play, what: str, answers: list[tuple[str, Answer]], *, slowest: bool = True) -> None:
    """Write down the answers, each with what was sent; all must be refusals."""
    bad = [f"{name}: {objection}" for name, answer in answers if (objection := _objection(name, answer))]
    play.round.count(what, len(answers), len(bad))
    play.round.defects += [f"{count} x {text[:200]}" for text, count in Counter(bad).most_common(5)]
    taken = sorted(answer.seconds for _, answer in answers)
    p99 = taken[int(0.99 * len(taken))]
    play.round.figures[f"{what}_p99_ms"] = round(p99 * 1000, 1)
    if slowest and p99 > _SLOWEST_REFUSAL_S:
        play.slow(f"the refusals' p99 is {p99 * 1000:.0f} ms")


def _objection(name: str, answer: Answer) -> str:
    if name.startswith(_SMUGGLING):
        return answer.objection(_UNOFFERED)
    return answer.objection(words=words_of(name.partition(" ")[2]))


def malformed(play: Play) -> None:
    """F23: bodies that are damaged in every way, to every call that takes one.

    Without API keys; `tests/acceptance/test_openapi.py` sends generated input to a stack that asks for them.
    """
    document = httpx.get(f"{play.stage.url}/openapi.json", timeout=20, trust_env=False).raise_for_status().json()
    for path, item in document["paths"].items():
        missed = [name for name, call in item.items() if "requestBody" in call and not hostile.is_sent_to(name, path)]
        play.round.defects += [f"nobody sends a body to {method} {path}" for method in missed]
    _warm(play)
    draws = [random.Random(play.rng.random()) for _ in range(_LINES)]

    def send(draw: random.Random) -> list[tuple[str, Answer]]:
        line, answers = Line(play.stage.url), []
        for _ in range(play.trials // _LINES):
            name, content = hostile.body(draw)
            answers.append((name, line.ask(content)))
        line.close()
        return answers

    with unharmed(play, _NOISE_BYTES, _GROWTH_SHARE), ThreadPoolExecutor(_LINES) as pool:
        answers = [one for some in pool.map(send, draws) for one in some]
    note(play, "malformed bodies", answers)


def _warm(play: Play) -> None:
    """Each call is used by each replica: what a first use loads is no growth."""
    for url in play.stage.replicas:
        line = Line(url)
        for name, content in hostile.each_once():
            answer = line.ask(content)
            if objection := _objection(name, answer):
                play.defect(f"undamaged, {name}: {objection}")
        line.close()


def huge(play: Play) -> None:
    """F24 and S01: more than fits, in every place, and requests that two parsers could read in two ways."""
    with unharmed(play):
        for _ in range(play.trials):
            answers = []
            for name, content in _oversized():
                answers.append((name, Line(play.stage.url, 20).only_answer(content)))
            note(play, "huge and ambiguous requests", answers, slowest=False)
            for path in (
                "/predict",
                "/v2/models/oracle/infer",
                "/v1/models/oracle:predict",
                "/mlflow/oracle/invocations",
            ):
                endless = _endless(play, path)
                if endless not in (400, 411, 413):
                    play.defect(f"a body without end for {path}: {endless}")
    left = [str(path) for path in (play.stage.layout.nginx / "body").rglob("*") if path.is_file()]
    if left:
        play.defect(f"Nginx left {left[:3]}")


def _oversized() -> Iterator[tuple[str, bytes]]:
    long = b'"' + b"a" * 10_000_000 + b'"'
    rows = b'{"model":"oracle","instances":[' + b",".join([b"[1]"] * 100_000) + b"]}"
    yield (
        "1 GB declared",
        request("POST", "/predict", b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: 1000000000")
        + b"\r\n\r\n",
    )
    yield "a string of 10 MB", request("POST", "/predict", b'{"model":' + long + b"}")
    yield "100,000 rows", request("POST", "/predict", rows)
    yield "a million deep", request("POST", "/predict", b'{"model":"oracle","instances":' + b"[" * 1_000_000)
    yield "train, a million deep", request("POST", "/train", b"[" * 1_000_000)
    yield "100,000 headers", request("POST", "/predict", b"{}", *(f"X-{n}: 1" for n in range(100_000)))
    yield "300 headers", request("POST", "/predict", b"{}", *(f"X-{n}: 1" for n in range(300)))
    yield "an address of 1 MB", request("GET", "/" + "a" * 1_000_000, b"")
    yield "a gzip bomb", request("POST", "/predict", gzip.compress(b"0" * 50_000_000), "Content-Encoding: gzip")
    yield "brotli", request("POST", "/predict", b"\x0b\x02\x80", "Content-Encoding: br")
    yield from ((f"{_SMUGGLING} {name}", content) for name, content in hostile.SMUGGLING.items())


def _endless(play: Play, path: str) -> int:
    """A chunked body that goes on until somebody says stop; what was said."""
    line = Line(play.stage.url, 20)
    head = request("POST", path, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    answer = line.ask(head + chunk * 24)
    line.close()
    return answer.status


def slow(play: Play) -> None:
    """F22: many connections that send their headers, or bodies, a byte at a time, and many that do not read."""
    stage = play.stage
    for url in stage.replicas:
        # Whoever asks a replica first has the document made, slow or not.
        httpx.get(f"{url}/openapi.json", timeout=20, trust_env=False).raise_for_status()
    with Load(stage.url, _RATE) as before:
        time.sleep(5)
    memory = _memory(stage.pids("nginx"))
    # Their process is not this one: it would slow down the measuring.
    command = [sys.executable, "-m", "tests.faults.slow_clients", stage.url, str(play.trials)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        count = int(clients.stdout.readline().removeprefix("begun "))
        with Load(stage.url, _RATE) as load:
            cut_s = float(clients.stdout.readline())
            grown = _memory(stage.pids("nginx")) - memory
            in_flight = sum(stage.metric(name, "warren_http_in_flight") for name in ("api-1", "api-2"))
            bodies_cut_s = float(clients.stdout.readline())
        clients.stdin.close()
    play.judge(load)
    play.round.count("slow clients", count)
    base, now = before.figures()["p99_ms"], load.figures()["p99_ms"]
    play.round.figures |= {"p99_before_ms": base, "nginx_grown_mb": round(grown / 2**20, 1)}
    play.round.figures |= {"cut_s": cut_s, "bodies_cut_s": bodies_cut_s}
    if now > max(2 * base, 100):
        play.slow(f"p99 {now} ms beside slow clients, {base} ms before")
    if grown > 100 * 2**20:
        play.defect(f"Nginx grew by {grown / 2**20:.0f} MB")
    if in_flight > play.trials / 10:
        play.defect(f"{in_flight:.0f} requests of slow clients reached a replica")


def no_way_out(play: Play) -> None:
    """S06: another stack, in a network whose way out counts packets; nothing it is asked for makes one."""
    for _ in range(play.trials):
        command = ["unshare", "--net", "--mount", "--fork", sys.executable, "-m", "tests.faults.no_way_out"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if done.returncode:
            play.defect(f"alone in its network: {done.stderr[-500:]}")
            continue
        packets = int(done.stdout.rpartition("packets ")[2])
        play.round.count("journeys without a way out", 1, int(packets > 0))
        play.round.figures["packets"] = packets
        if packets:
            play.defect(f"{packets} packets wanted to leave")


SCENARIOS = (
    Scenario(
        "S06",
        "No call makes the gateway reach out",
        "0 packets",
        no_way_out,
        faults=None,
        chaos=(1, 2),
        stage="plain",
    ),
    Scenario(
        "F23",
        "No body gets an answer that is no refusal",
        "0 of 10,000 with 5xx or over 4 KB; + <= 5 % or 8 MB",
        malformed,
        faults=(1, 2_000),
        chaos=(4, 5_000),
        stage="plain",
    ),
    Scenario(
        "F24",
        "Huge and ambiguous requests are refused, and cost nothing",
        "+ <= 50 MB, 0 restarts",
        huge,
        faults=(1, 1),
        chaos=(1, 20),
        stage="plain",
    ),
    Scenario(
        "F22",
        "Slow clients harm nobody",
        "p99 <= 2 x, 0 errors",
        slow,
        faults=(1, 300),
        chaos=(3, 1_000),
        stage="plain",
    ),
)
