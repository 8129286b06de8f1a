"""What the two Python clients write, and what they must find again.

The Rust side (tests/interop/libraries.rs) knows the same records and looks at them in its own way.
"""

import sys
import time

RECORDS = 300
SHARED_PARTITIONS = 4
SHARED_RECORDS = 400
FIRST_TIMESTAMP = 1_700_000_000_000


def key(number):
    return b"key-%d" % (number % 7)


def value(codec, number):
    return b"%s line %d %s" % (codec.encode(), number, b"text " * 10)


def headers(number):
    return [("unit", b"C"), ("number", b"%d" % number)]


def timestamp(number):
    return FIRST_TIMESTAMP + number


def equal(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: found {found!r}, wanted {wanted!r}")
    print(f"{what}: as it should be", flush=True)


def wait_until(what, is_so, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so():
        if deadline < time.monotonic():
            sys.exit(f"{what}: not in {seconds} s")
        time.sleep(0.01)
