"""What a submission is kept from on Linux, by namespaces of the kernel's own (man 7 namespaces); no rights are needed.

A confined process and what it starts see no network, no other process, and nothing of folders that are hidden; all else
they can only read, but for one folder of their own. Where the system does not allow it, `works()` says so.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
BIND, RECURSIVE, PRIVATE, NO_SUID, NO_DEV, NO_EXEC = 4096, 16384, 1 << 18, 2, 4, 8  # linux/mount.h
READ_ONLY, WHOLE_TREE, MOUNT_SETATTR = 1, 0x8000, 442
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def leave(user, group):
    """Leave the system's namespaces; the next process that is forked is the first in the new ones.

    user, group: the ids of the process, before; it keeps them. Raises OSError where it is not allowed.
    """
    _call(LIBC.unshare(NEW_USER | NEW_MOUNTS | NEW_IPC | NEW_PIDS | NEW_NETWORK))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def arrange(own, hidden=(), shown=(), scratch=()):
    """In the first process of new namespaces: hide folders; let nothing be written but in `own`.

    hidden: folders that become empty, but for those of `shown` that they hold; folders that hold others come first.
    scratch: folders in which may be written what nobody else sees. All are real paths.
    """
    _mount("none", "/", "", RECURSIVE | PRIVATE)
    _mount(own, own, "", BIND | RECURSIVE)
    for folder in hidden:
        if not Path(folder).is_dir():
            continue  # it is hidden with a folder that held it
        kept = [Path(one) for one in dict.fromkeys([*shown, own]) if Path(one).is_relative_to(folder) and one != folder]
        handles = {one: os.open(one, os.O_PATH) for one in kept}
        _mount("none", folder, "tmpfs", NO_SUID | NO_DEV)
        for one, handle in handles.items():
            one.mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{handle}", one, "", BIND | RECURSIVE)
            os.close(handle)
    scratch = [*scratch, "/dev/shm"]
    for folder in scratch:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _mount("none", folder, "tmpfs", NO_SUID | NO_DEV)
    _mount("none", "/proc", "proc", NO_SUID | NO_DEV | NO_EXEC)
    _set(Path("/"), READ_ONLY, 0)
    for writable in (own, *scratch):
        _set(writable, 0, READ_ONLY)


def works():
    """Whether a process may be confined here: one is, and tries."""
    if not LIBC:
        return False
    user, group = os.getuid(), os.getgid()
    own = os.path.realpath(Path.cwd())
    child = os.fork()
    if child == 0:
        try:
            leave(user, group)
            first = os.fork()
            if first == 0:
                arrange(own)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _mount(source, target, kind, flags):
    _call(LIBC.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, None))


def _set(target, on, off):
    """Set and clear attributes of a mount and of all below it."""
    attributes = struct.pack("QQQQ", on, off, 0, 0)
    _call(LIBC.syscall(MOUNT_SETATTR, -100, os.fsencode(target), WHOLE_TREE, attributes, len(attributes)))


def _call(status):
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
