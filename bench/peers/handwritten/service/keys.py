"""The key that the service takes, by its hash."""

import hashlib

KEY_HASH = hashlib.sha256(b"a-key-for-the-benchmark").digest()
