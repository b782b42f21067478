"""The one typed settings tree. Nothing else in the project reads the environment.

A field ``predict.deadline_ms`` is set by the variable ``WARREN_PREDICT__DEADLINE_MS``. The text
under each field is its documentation: unit, meaning, and why the number is what it is.
``docs/settings.md`` is generated from it (``python -m wire.settings_page``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wire import exposure
from wire.retention import Retention
from wire.section import Section
from wire.tls import Tls

_MIB = 1024 * 1024


class Broker(Section):
    """How a process reaches RabbitMQ."""

    host: str = "127.0.0.1"
    """Host name or address."""
    port: int = 5672
    """TCP port."""
    vhost: str = "warren"
    """Virtual host; everything of the gateway lives in one."""
    user: str = "guest"
    """User name; each service has its own, with only the rights it uses."""
    password_file: Path | None = None
    """File that holds the password, so that no password stands in an environment or a process list."""
    heartbeat_s: int = Field(10, ge=1, le=300)
    """Seconds. RabbitMQ advises 5 to 20: lower gives false alarms, higher holds a frozen peer's work longer."""
    blocked_timeout_s: float = Field(60.0, gt=0)
    """Seconds a connection may be blocked by a broker alarm before it is dropped. Nothing is sent on it meanwhile, and
    the broker notices only after the alarm that it was dropped: short times fill it with connections."""
    connect_timeout_s: float = Field(2.0, gt=0)
    """Seconds for TCP and the AMQP handshake."""
    confirm_timeout_s: float = Field(1.0, gt=0)
    """Seconds to wait for a publish to be confirmed before it counts as refused."""
    reconnect_max_s: float = Field(2.0, gt=0)
    """Longest pause between two attempts to reconnect, jittered; the first attempt is at once."""


class Process(Section):
    """What every process has."""

    metrics_port: int = Field(0, ge=0, le=65535)
    """Port of /metrics, /livez and /readyz of this process; 0 lets the system choose."""
    metrics_host: str = "127.0.0.1"
    """Address of that port; never the public one."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    drain_s: float = Field(20.0, ge=0)
    """Seconds a stopping process may take to finish what it has; in containers at most 50: they are killed after 60."""


class Api(Section):
    """An API replica."""

    host: str = "127.0.0.1"
    """Address a replica listens on."""
    port: int = Field(8000, ge=0, le=65535)
    """TCP port a replica listens on."""
    socket: Path | None = None
    """Unix socket it listens on as well, for an Nginx on the same machine: a write to it costs a tenth of TCP's."""
    keys: Literal["off", "required"] = "off"
    """``required``: every call but the documentation and the health of a replica needs an API key. ``off`` only
    where nobody else can call: with it, an address that is not loopback stops the process at its start."""
    hosts: str = ""
    """Names, with commas, that callers without keys may use besides ``localhost`` (docs/security.md)."""
    replica: str = "api"
    """This replica's name in logs and metrics."""
    keep_alive_s: int = Field(75, ge=1)
    """Seconds an idle connection is kept; above Nginx's 30, so that Nginx closes first and no request is cut off."""


class Keys(Section):
    """API keys, where ``api.keys`` is ``required``."""

    refresh_s: float = Field(2.0, gt=0, le=4)
    """Seconds between two looks at the ledger: a revoked key stops working on every replica after at most these."""
    stale_s: float = Field(300.0, gt=0)
    """Seconds a replica goes on accepting the keys it knows while the ledger is away; afterwards 503."""
    days: int = Field(365, ge=1, le=3650)
    """Days a key lives when its making names no number."""
    rate_per_s: float | None = Field(None, gt=0, le=100_000)
    """Calls a second that a key may make when its making names no number; unset: any number, as a load test or a
    first try needs. Keys that are there keep what they were made with (docs/decisions/0031)."""


class Ledger(Section):
    """The SQL database that owns every job's state."""

    url: str = "sqlite:///var/ledger/ledger.sqlite3"
    """SQLAlchemy URL. SQLite (WAL) by default; ``postgresql+psycopg://user@host/name`` for several machines."""
    password_file: Path | None = None
    """File that holds the database password."""
    pool_size: int = Field(5, ge=1, le=50)
    """Connections a process keeps; a replica's SQL is short, so few suffice."""
    timeout_s: float = Field(5.0, gt=0)
    """Seconds a statement waits for a lock or a connection. PostgreSQL also ends every statement that takes longer."""


class Limits(Section):
    """What the gateway refuses to take."""

    predict_body_bytes: int = 8 * _MIB
    """Largest body of a prediction; with framing it stays under RabbitMQ's 12 MiB."""
    predict_rows: int = 10_000
    """Most rows in one prediction; more is a dataset's work."""
    train_body_bytes: int = 8 * _MIB
    """Largest body of POST /train, rows in the request included. Bodies over 64 KiB of which a replica holds twice as
    much in all answer 429 to further ones: what is made of one takes up to 30 times its size."""
    dataset_bytes: int = 1024 * _MIB
    """Largest upload."""
    other_body_bytes: int = 64 * 1024
    """Largest body of any other call."""
    queued_jobs: int = 10_000
    """Jobs that may wait before POST /train answers 429."""
    event_streams: int = 200
    """Event streams a replica keeps open at once; it asks the ledger about all of them twice a second, in one
    query. Where keys are needed an owner holds at most as many as are left free."""


class Predict(Section):
    """The prediction path."""

    deadline_ms: int = Field(2000, ge=1)
    """Milliseconds a request may take when it names no X-Request-Timeout-Ms."""
    deadline_max_ms: int = Field(30_000, ge=1)
    """Largest X-Request-Timeout-Ms."""
    batches_in_flight: int = Field(2, ge=1, le=64)
    """Batches under way per model reference and replica; a further one leaves only when it is worth its message."""
    worth_bytes: int = Field(48 * 1024, ge=1)
    """Waiting bytes of rows that are worth a message while another is under way. Less waits and leaves together:
    messages cost the same whatever they carry. From here on computing takes longer, and predictors share it."""
    batch_rows: int = Field(10_000, ge=1)
    """Most rows one batch collects."""
    batch_bytes: int = Field(8 * _MIB, ge=1, le=11 * _MIB)
    """Most bytes one batch collects, with what describes its rows; RabbitMQ takes messages of up to 12 MiB."""
    batch_requests: int = Field(512, ge=1)
    """Most requests one batch collects."""
    waiting_requests: int = Field(2_000, ge=1)
    """Requests a replica holds, waiting or in flight, before it answers 429; one model alone gets four fifths."""
    waiting_bytes: int = Field(256 * _MIB, ge=1)
    """Bytes of requests a replica holds, waiting or in flight, before it answers 429: a bound on its memory."""
    wait_share: float = Field(0.6, gt=0, le=1)
    """Share of its own time that the answer to a request may be expected to take, by what waits before it; beyond it
    429 at once. Without, three times too many requests left a tenth of the capacity and a 504 for everybody else."""
    hedge_share: float = Field(0.1, ge=0, le=1)
    """Share of batches that may be sent a second time when they are unusually late: a frozen predictor is hidden."""
    consumers_poll_s: float = Field(0.5, gt=0)
    """Seconds between two looks at the predict queue's consumers; at none, 503 at once."""
    prefetch: int = Field(8, ge=1, le=64)
    """Batches a predictor holds. With 2, two batches of thousands of rows kept every single row of every model away
    until they were done; with 8, single rows pass up to seven by (docs/decisions/0015)."""
    memory_bytes: int = 2048 * _MIB
    """Memory that a predictor's loaded versions may take; beyond it the least recently used one goes. Reckoned with
    4.4 times a graph's file, once a file of scikit-learn's, and half a MiB for each; a version that alone would take
    more is refused."""
    superseded_s: float = Field(300.0, ge=0)
    """Seconds for which nobody asked for a version, after which it is unloaded when a newer one of its model comes."""
    presence_s: float = Field(2.0, gt=0)
    """Seconds between two signs of life of a predictor."""


class Train(Section):
    """The training path."""

    alive_s: float = Field(2.0, gt=0)
    """Seconds between two progress messages at the latest."""
    silence_s: float = Field(10.0, gt=0)
    """Seconds without a progress message after which the worker counts the trainer as lost."""
    lease_renew_s: float = Field(5.0, gt=0)
    """Seconds between two renewals of a job's lease."""
    lease_stale_s: float = Field(15.0, gt=0)
    """Seconds of the reaper's own clock after which an unrenewed lease is taken away."""
    attempts: int = Field(3, ge=1)
    """Failures of our making before a job ends as failed; a failure of the input ends it at once."""
    child_memory_bytes: int = 8192 * _MIB
    """Address space of the child that fits; beyond it the fit fails with a sentence."""
    inspect_memory_bytes: int = 4096 * _MIB
    """Address space of the child that profiles a dataset."""
    inspect_wait_s: float = Field(10.0, ge=0)
    """Seconds an upload waits for its profile before it answers without one."""
    warm_wait_s: float = Field(30.0, gt=0)
    """Seconds a new version waits for the predictors to load it before the alias moves."""
    presence_timeout_s: float = Field(15.0, gt=0)
    """Seconds of silence after which a predictor is not waited for."""
    worker_threads: int = Field(8, ge=1, le=128)
    """Jobs a Celery worker follows at once; they wait for trainers, so threads suffice."""
    prove_s: float = Field(1.0, gt=0, le=3600)
    """Seconds a new version's graph is held against its pipeline on rows made for it, and half as many on batches."""
    measure_s: float = Field(0.3, gt=0, le=600)
    """Seconds each runtime of a new version is measured, before the cheaper one is chosen."""
    warm_s: float = Field(20.0, ge=0, le=86_400)
    """Seconds after a training for which a process that has loaded its libraries (260 MB) waits for the next one, which
    then begins seconds sooner; 0: none waits."""
    pace_s: float = Field(0.0, ge=0)
    """Seconds every training lasts at least; for rehearsals of very long trainings only."""


class Bulk(Section):
    """Predictions of whole datasets."""

    block_rows: int = Field(500, ge=1, le=1_000)
    """Most rows of a block. Publishing has tried on a sample of sizes up to 1,000 that a row gets the same answer."""
    block_bytes: int = Field(64 * 1024, ge=1_024, le=_MIB)
    """Most bytes of a block's rows: so many are decoded within a millisecond."""
    window: int = Field(4, ge=1, le=64)
    """Blocks a job has under way; more than the predictors that take one each, so that none of them waits."""
    draft_bytes: int = Field(8192 * _MIB, ge=1)
    """Most bytes that a job's files take, rows and output: eight of the largest uploads, however small a file was."""
    quiet_s: float = Field(0.004, ge=0, le=1)
    """Seconds without a live prediction after which a predictor goes on with a block; longer than the pauses within
    one burst, so that a block begins when the burst is over."""
    slice_s: float = Field(0.002, gt=0, le=1)
    """Seconds of computing after which a predictor looks again whether a live prediction has come."""
    patience_s: float = Field(1.0, gt=0)
    """Seconds a block's next part waits for quiet; then it is computed all the same. Under unbroken live load an
    offline prediction goes on at this pace."""


class Paths(Section):
    """Where the shared folders are."""

    models: Path = Path("models")
    """The model volume: written by trainers, read by predictors, unknown to replicas."""
    datasets: Path = Path("var/datasets")
    """Uploads: written by replicas, read by trainers."""
    predictions: Path = Path("var/predictions")
    """Outputs of offline predictions: written by workers and trainers, read by replicas; one filesystem."""
    signing_key_file: Path = Path("var/secrets/signing.key")
    """Ed25519 private key (PEM) that signs manifests; only a trainer reads it."""
    verify_key_file: Path = Path("var/secrets/signing.pub")
    """Ed25519 public key (PEM) that verifies them."""


class Settings(BaseSettings):
    """The root of the tree."""

    # Without the input in errors: a database URL may hold a password.
    model_config = SettingsConfigDict(
        env_prefix="WARREN_", env_nested_delimiter="__", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    broker: Broker = Broker()
    process: Process = Process()
    api: Api = Api()
    keys: Keys = Keys()
    ledger: Ledger = Ledger()
    limits: Limits = Limits()
    predict: Predict = Predict()
    train: Train = Train()
    bulk: Bulk = Bulk()
    retention: Retention = Retention()
    paths: Paths = Paths()
    tls: Tls = Tls()

    @model_validator(mode="after")
    def _nobody_unknown_gets_in(self) -> Self:
        objection = exposure.objection(self.api.host, self.api.keys, self._passwords())
        if objection:
            raise ValueError(objection)
        return self

    def _passwords(self) -> dict[str, str]:
        """The passwords of this process by the settings they come from; only read where others can call."""
        if exposure.is_loopback(self.api.host):
            return {}
        broker = "guest" if self.broker.password_file is None else exposure.read(self.broker.password_file)
        ledger = exposure.password_of(self.ledger.url)
        if self.ledger.password_file is not None:
            ledger = exposure.read(self.ledger.password_file)
        return {"WARREN_BROKER__PASSWORD_FILE": broker, "WARREN_LEDGER__PASSWORD_FILE": ledger}


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process, read once from the environment."""
    return Settings()
