"""Becomes another user and then another program: `as_user.py UID GID PROGRAM ARGUMENT...`."""

import os
import sys

if __name__ == "__main__":
    uid, gid, *command = sys.argv[1:]
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 - that is what it is for; there is no shell
