# SPDX-License-Identifier: Apache-2.0
"""Stands in for the Python of the tests: it has a program run by `warm_server`, or becomes the real Python.

It is copied beside the server's socket, with the Python that it stands in for in its first line, and is what
`sys.executable` names in tests. It starts with no module but built-in ones, so it is there at once. What the server
cannot run exactly as a new Python would (other programs, terminals, other settings of Python or of the tools) is left
to a new Python.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import posix
import sys

ONLY_WARM = b"SECURE_EXT_ONLY_WARM"
"""If this variable is set, what the server cannot run fails."""
FREE = {ONLY_WARM, b"PYTEST_CURRENT_TEST", b"PYTHONSAFEPATH", b"ESPTOOL_CFGFILE", b"TMPDIR", b"PATH"}
FREE |= {b"MAKEFLAGS", b"MAKELEVEL", b"MAKE_TERMOUT", b"MAKE_TERMERR", b"MFLAGS"}
"""Variables that decide nothing while modules are loaded; all others are as they were when the server started."""
PROGRAMS = {"espefuse", "esptool", "espsecure", "secure_ext"}
EMPTY_CONFIGURATION = b"[esptool]\n"
CONFIGURATIONS = {"esptool.cfg", "setup.cfg", "tox.ini"}
"""Files in which esptool looks for its configuration."""
INTERRUPTIONS = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
FAILED = 70


def is_known(words: list[str]) -> bool:
    """Whether a command line, without the Python, starts a program that the server has loaded.

    Not for a tool's help: each tool changes, when it is loaded, how rich-click lays out the help of all of them.
    """
    if "--help" in words and words[1:2] != ["secure_ext"]:
        return False
    option, module_or_code = [*words, "", ""][:2]
    if option == "-m":
        return module_or_code in PROGRAMS
    if option == "-c":
        return "runpy.run_module(" in module_or_code or "board_helper" in module_or_code
    return option.rpartition("/")[2] == "provision.py"


def is_as_at_start(environment: dict[bytes, bytes]) -> bool:
    """Whether modules would find the settings that they found when the server loaded them."""
    if {**posix.environ, **dict.fromkeys(FREE)} != {**environment, **dict.fromkeys(FREE)}:
        return False
    configuration = posix.environ.get(b"ESPTOOL_CFGFILE")
    if configuration is None:
        return not CONFIGURATIONS & set(posix.listdir("."))
    file = posix.open(configuration, posix.O_RDONLY)
    content = posix.read(file, len(EMPTY_CONFIGURATION) + 1)
    posix.close(file)
    return content == EMPTY_CONFIGURATION


def inherited_files() -> list[int]:
    """The file descriptors that a program gets from the one that started it."""
    found = []
    for name in posix.listdir("/proc/self/fd"):
        try:
            if posix.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            pass  # the one of the listing itself
    return sorted(found)


def run_warm(folder: str) -> None:
    """Has the server run this command line, and ends as it ended; returns if a new Python has to run it."""
    with open(folder + "/environment", "rb") as file:  # noqa: PTH123 (pathlib takes longer to load than all of this)
        environment = marshal.load(file)  # noqa: S302 (the tests wrote it)
    files = inherited_files()
    if files[:3] != [0, 1, 2] or any(posix.isatty(file) for file in files[:3]):
        return
    if not is_known(sys.argv[1:]) or not is_as_at_start(environment):
        return
    umask = posix.umask(0o077)
    posix.umask(umask)
    ignored = [number for number in INTERRUPTIONS if _signal.getsignal(number) == _signal.SIG_IGN]
    leads = posix.getsid(0) == posix.getpid()
    job = (sys.argv[0], sys.argv[1:], posix.getcwd(), posix.environ, umask, ignored, leads, files)
    request = marshal.dumps(job)
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(folder + "/socket")
    if _signal.SIGINT not in ignored:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    rights = b"".join(file.to_bytes(4, sys.byteorder) for file in files)
    server.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    while request:
        request = request[server.send(request) :]
    answer = server.recv(4)
    status = int.from_bytes(answer, "big") if answer else FAILED << 8
    if posix.WIFSIGNALED(status):
        number = posix.WTERMSIG(status)
        if number != _signal.SIGKILL:
            _signal.signal(number, _signal.SIG_DFL)
        posix.kill(posix.getpid(), number)
    posix._exit(posix.WEXITSTATUS(status))


if __name__ == "__main__":
    try:  # noqa: SIM105 (contextlib takes longer to load than all of this)
        run_warm(sys.argv[0].rpartition("/")[0])
    except OSError:
        pass
    if ONLY_WARM in posix.environ:
        sys.exit(f"a new Python is needed for this: {sys.argv[1:]}")
    posix.execve(sys.executable, [sys.executable, *sys.argv[1:]], posix.environ)
