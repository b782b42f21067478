"""How much memory a connection to the ledger's file keeps; the worker and replicas have up to five each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ASK = """
import ctypes, sys
from api.ledger.database import Database
from wire import settings


class Given(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena a b c mapped d e used f g".split()]


library = ctypes.CDLL(None)
library.mallinfo2.restype = Given


def used():
    given = library.mallinfo2()
    return given.used + given.mapped


database = Database(settings.Ledger(url=f"sqlite:///{sys.argv[1]}"))
with database.writing() as connection:
    ask = connection.connection.cursor()
    ask.execute("CREATE TABLE rows (a INTEGER PRIMARY KEY, b TEXT, c TEXT)").fetchall()
    before = used()
    for _ in range(64):
        ask.execute("INSERT INTO rows (b, c) VALUES (hex(randomblob(32768)), 'x')").fetchall()
with database.reading() as connection:
    ask = connection.connection.cursor()
    for number in range(100):
        ask.execute(f"SELECT a, b > ?, c FROM rows WHERE c > ? AND a <> {number} ORDER BY b", ("F", "w")).fetchall()
    print(used() - before)
"""


def test_a_connection_keeps_little_of_what_was_read_and_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ASK, str(tmp_path / "ledger.sqlite3")]
    kept = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert kept < 400 * 1024
