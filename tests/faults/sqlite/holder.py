"""A process that holds the lock of a SQLite file: ``python holder.py PATH``; it prints when it does."""

import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
