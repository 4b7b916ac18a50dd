"""Ends of the process, wanted or not."""

from corpus.case import LIBC, case

CASES = [
    case("segmentation fault", "import ctypes\nprint('before')\nctypes.string_at(0)", "killed",
         says="before", lost=True, after="1", then="1"),
    case("abort", "import os; os.abort()", "killed", lost=True),
    case("kills itself", "import os; os.kill(os.getpid(), 9)", "killed ok error"),
    case("terminates itself", "import os; os.kill(os.getpid(), 15)", "killed ok error"),
    case("illegal instruction", LIBC + "libc.raise_(4) if hasattr(libc, 'raise_') else "
         "getattr(libc, 'raise')(4)", "killed ok error"),
    case("closes every descriptor", "import os; os.closerange(0, 1000)", "killed", lost=True,
         after="1", then="1"),
    case("_exit(0)", "import os; print('bye'); os._exit(0)", "killed", says="bye", lost=True),
    case("_exit(1)", "import os; os._exit(1)", "killed", lost=True),
    case("exit group by number", LIBC + "libc.syscall(231, 0)", "killed", lost=True),
    case("exit thread by number", LIBC + "libc.syscall(60, 0)", "killed timeout", timeout_s=0.4,
         lost=True),
    case("sys.exit", "import sys\nprint(1)\nsys.exit()\nprint(2)", "ok", says="1", lost=False,
         after="3", then="3"),
    case("sys.exit with a reason", "import sys; sys.exit('no solution')", "error",
         says="no solution", lost=False),
    case("exit", "exit()", "ok", lost=False, after="try: input()\nexcept EOFError: print('eof')",
         then="eof"),
    case("quit in a function", "def f(): quit(0)\nf()", "ok", lost=False),
    case("KeyboardInterrupt of its own", "raise KeyboardInterrupt", "error", lost=False),
    case("base exception", "class B(BaseException): pass\nraise B('odd')", "error", says="odd"),
    case("GeneratorExit", "raise GeneratorExit", "error"),
    case("frees what it does not own", "import ctypes\nctypes.CDLL(None).free(ctypes.c_void_p(8))",
         "killed", lost=True),
    case("writes into small numbers", """
        import ctypes
        ctypes.memset(id(5), 0xff, 64)
        print(5 + 5)
        """, "ok error killed timeout", timeout_s=1.0),
    case("SIGPIPE", "import os\nr, w = os.pipe(); os.close(r)\nos.write(w, b'x')", "error",
         says="BrokenPipe"),
]  # fmt: skip
