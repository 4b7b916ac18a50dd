"""New processes, other processes, more rights."""

from corpus.case import LIBC, case, denied, syscall

CASES = [
    case("fork bomb", """
        import os
        try:
            while True: os.fork()
        except OSError as e: print(type(e).__name__)
        """, "ok timeout killed error", says="PermissionError", needs=("seccomp",), timeout_s=1.0),
    case("daemonised grandchild", """
        import os, time
        try:
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(3)
                    open('@DIR@/grandchild', 'w')
                os._exit(0)
        except OSError as e: print(type(e).__name__)
        """, "ok killed", says="PermissionError", needs=("seccomp",)),
    case("fork to multiply memory", """
        import os
        try:
            for _ in range(8):
                if os.fork() == 0:
                    x = bytearray(400 << 20)
                    while True: pass
        except OSError as e: print(type(e).__name__)
        """, "ok error timeout killed", says="PermissionError", needs=("seccomp",), timeout_s=1.0),
    case("thread bomb", """
        import threading
        stop = threading.Event()
        n = 0
        try:
            while True:
                threading.Thread(target=stop.wait).start(); n += 1
        except RuntimeError:
            print('refused')
        stop.set()
        """, "ok timeout", says="refused", timeout_s=3.0),
    case("thread bomb of tiny threads", """
        import threading
        threading.stack_size(32768)
        stop = threading.Event()
        try:
            while True: threading.Thread(target=stop.wait).start()
        except RuntimeError:
            print('refused')
        stop.set()
        """, "ok timeout memory killed", timeout_s=3.0),
    denied("sh", "import os\nassert os.system('echo ESCAPED') == 0", "seccomp"),
    denied("subprocess", "import subprocess\nsubprocess.run(['/bin/ls', '/'])", "seccomp"),
    denied("exec", "import os\nos.execv('/bin/sh', ['sh', '-c', 'echo ESCAPED'])", "seccomp",
           status="ok killed"),
    denied("posix_spawn", "import os\nos.posix_spawn('/bin/true', ['true'], {})", "seccomp"),
    denied("multiprocessing", "import multiprocessing as m\n"
           "p = m.get_context('fork').Process(target=print); p.start(); p.join()", "seccomp"),
    syscall("vfork by number", 58, "", "seccomp"),
    syscall("clone by number", 56, "17, 0, 0, 0, 0", "seccomp"),
    syscall("clone3 by number", 435, "b'\\0' * 64, 64", "seccomp"),
    syscall("clone into a user namespace", 56, "0x10000011, 0, 0, 0, 0", "seccomp"),
    denied("kill the host", "import os, signal\nos.kill(@HOST@, signal.SIGTERM)"),
    denied("kill the parent", "import os, signal\nassert os.getppid() > 0, 'none'\n"
           "os.kill(os.getppid(), signal.SIGKILL)"),
    case("kill everybody", """
        import os, signal
        try: os.kill(-1, signal.SIGKILL)
        except OSError as e: print(type(e).__name__)
        """, "ok killed error"),
    case("kill the group", """
        import os, signal
        try: os.killpg(0, signal.SIGKILL)
        except OSError as e: print(type(e).__name__)
        """, "ok killed error"),
    denied("kill every number", """
        import os, signal
        hit = 0
        for pid in range(2, 40000):
            try:
                if pid != os.getpid(): os.kill(pid, signal.SIGKILL); hit += 1
            except OSError: pass
        assert hit, 'none'
        """),
    syscall("thread signal to the host", 234, "@HOST@, @HOST@, 15"),
    syscall("queued signal to the host", 129, "@HOST@, 15, b'\\0' * 128"),
    syscall("pidfd of the host", 434, "@HOST@, 0"),
    syscall("ptrace the host", 101, "16, @HOST@, 0, 0"),
    syscall("read the host's memory", 310, "@HOST@, 0, 0, 0, 0, 0", "seccomp"),
    denied("memory of the parent", "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb+')"),
    denied("memory of the host", "open('/proc/@HOST@/mem', 'rb+')"),
    denied("negative nice", "import os\nos.nice(-5)"),
    denied("real-time priority", "import os\nos.sched_setscheduler(0, os.SCHED_FIFO, "
           "os.sched_param(1))"),
    denied("raise the memory limit", "import resource\n"
           "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    denied("raise the process limit", "import resource\n"
           "resource.setrlimit(resource.RLIMIT_NPROC, (10**5, 10**5))"),
    denied("become root", "import os\nassert os.getuid() != 0\nos.setuid(0)"),
    denied("change the group", "import os\nos.setgid(1)"),
    denied("hold a capability", LIBC + "import struct\nh = struct.pack('Ii', 0x20080522, 0)\n"
           "d = ctypes.create_string_buffer(24)\nlibc.capget(h, d)\n"
           "e = struct.unpack('6I', d.raw)\nassert e[0] & ~4 or e[3], 'none'"),
    syscall("take capabilities", 126, "b'\\x22\\x05\\x08\\x20\\0\\0\\0\\0', b'\\xff' * 24"),
    syscall("unshare", 272, "0x10000000", "seccomp"),
    syscall("setns", 308, "0, 0"),
    syscall("mount", 165, "b'none', b'/tmp', b'tmpfs', 0, 0"),
    syscall("umount", 166, "b'/tmp', 2"),
    syscall("pivot_root", 155, "b'/', b'/'"),
    denied("chroot", "import os\nos.chroot('/tmp')"),
    syscall("io_uring", 425, "8, b'\\0' * 120", "seccomp"),
    syscall("bpf", 321, "0, b'\\0' * 64, 64"),
    syscall("keyctl", 250, "0, -3, 0, 0, 0", "seccomp"),
    syscall("perf events", 298, "b'\\0' * 112, 0, -1, -1, 0"),
    syscall("userfaultfd", 323, "0", "seccomp"),
    syscall("host name", 170, "b'x', 1"),
    syscall("set the clock", 227, "0, b'\\0' * 16"),
    syscall("load a module", 175, "0, 0, b''"),
    syscall("reboot", 169, "0xfee1dead, 672274793, 0, 0"),
    syscall("kernel log", 103, "3, b'\\0' * 64, 64"),
    syscall("quota", 179, "0, 0, 0, 0"),
    syscall("personality", 135, "0x0040000", "seccomp"),
    syscall("another seccomp filter", 317, "1, 0, 0"),
    syscall("file handles", 304, "-100, b'\\0' * 16, 0"),
    case("x32 system call", LIBC + "libc.syscall(0x40000000 + 39)\nprint('went on')", "killed",
         lost=True, needs=("seccomp",)),
    case("int 0x80", """
        import ctypes, mmap
        m = mmap.mmap(-1, 4096, prot=7)
        # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
        m.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
        f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
        print('returned' if f() >= 0 else 'refused')
        """, "killed ok", needs=("seccomp", "imports")),
]  # fmt: skip
