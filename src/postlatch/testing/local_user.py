"""Runs the ``sendmail`` command as another user of this machine, from an interpreter that only root may load. Needs root."""

from __future__ import annotations

import base64  # noqa: F401 - loaded before the user changes, like the next ones
import email.utils  # noqa: F401
import os
import pwd  # noqa: F401
import select  # noqa: F401
import sys
import tomllib  # noqa: F401

import postlatch.smtp.client_body  # noqa: F401
from postlatch.cli.sendmail import main

if __name__ == "__main__":
    user = int(sys.argv[1])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    sys.exit(main(sys.argv[2:]))
