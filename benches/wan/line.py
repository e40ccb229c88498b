"""A long line: two network namespaces and one process between them that holds back and drops IP packets.

For machines whose kernel has no netem. Each namespace has a TUN device; whatever is sent into one comes out of the other
after the delay, or never. No bound on bandwidth; packets stay in order; what is dropped is drawn from a seeded generator,
but which packet meets which draw is not the same from run to run. Nothing has a name: namespaces and devices are gone
with the last process that uses them. Linux, root, /dev/net/tun.
"""
import collections, ctypes, fcntl, json, os, random, select, signal, struct, subprocess, sys, time

NEAR, FAR = "10.99.0.1", "10.99.0.2"
CLONE_NEWNET, TUNSETIFF, TUN_WITHOUT_HEADER, PR_SET_PDEATHSIG = 0x40000000, 0x400454CA, 0x1001, 1
libc = ctypes.CDLL(None, use_errno=True)


def missing():
    """Why there can be no line here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"needs /dev/net/tun: {error.strerror}"
    return None


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Line:
    """delay: seconds each way. loss: share of packets each way. control: the TCP congestion control of both ends."""

    def __init__(self, delay, loss, seed=1, control=None):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            self.near, near_device = self.end(NEAR, FAR, control)
            self.far, far_device = self.end(FAR, NEAR, control)
        finally:
            checked(libc.setns(home, CLONE_NEWNET))
            os.close(home)
        report, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                move([near_device, far_device], delay, loss, seed, theirs)
            finally:
                os._exit(1)
        for file in (near_device, far_device, theirs):
            os.close(file)
        self.report = report

    @staticmethod
    def end(address, other, control):
        """A new namespace for this process, with lo and a device; returns descriptors of both."""
        checked(libc.unshare(CLONE_NEWNET))
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"line", TUN_WITHOUT_HEADER))
        for command in ("link set lo up", f"addr add {address} peer {other} dev line", "link set line txqueuelen 20000 up"):
            subprocess.run(["ip", *command.split()], check=True)
        if control:
            try:
                with open("/proc/sys/net/ipv4/tcp_congestion_control", "w") as setting:
                    setting.write(control)
            except OSError as error:
                sys.exit(f"{control}: {error.strerror}: not in net.ipv4.tcp_allowed_congestion_control?")
        return os.open("/proc/self/ns/net", os.O_RDONLY), device

    def run(self, where, command, **more):
        """Starts a command in self.near or self.far."""
        return subprocess.Popen(command, preexec_fn=lambda: checked(libc.setns(where, CLONE_NEWNET)), **more)

    def retransmitted(self):
        """TCP segments sent again by the near end so far, as nstat counts them."""
        process = self.run(self.near, ["cat", "/proc/net/snmp"], stdout=subprocess.PIPE, text=True)
        names, values = [line.split() for line in process.communicate()[0].splitlines() if line.startswith("Tcp:")]
        return int(dict(zip(names, values))["RetransSegs"])

    def close(self):
        """Ends the line; returns what it moved and dropped."""
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        with os.fdopen(self.report) as report:
            said = report.read()
        os.close(self.near)
        os.close(self.far)
        return json.loads(said or "{}")


def move(devices, delay, loss, seed, report):
    """Moves packets until SIGTERM."""
    ends, woken = [], os.pipe()
    os.set_blocking(woken[1], False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: ends.append(True))
    signal.set_wakeup_fd(woken[1])
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))  # a late packet would be the machine's delay
    except OSError:
        pass
    chance, waiting = random.Random(seed), {device: collections.deque() for device in devices}
    other = dict(zip(devices, reversed(devices)))
    moved = dropped = 0
    latest = 0.0
    while not ends:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        patience = None if due is None else max(0, due - time.monotonic())
        ready, _, _ = select.select([*devices, woken[0]], [], [], patience)
        now = time.monotonic()
        for device in devices:
            queue = waiting[device]
            for _ in range(64 if device in ready else 0):
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    break
                if chance.random() < loss:
                    dropped += 1
                else:
                    queue.append((now + delay, packet))
            now = time.monotonic()
            while queue and queue[0][0] <= now:
                due, packet = queue.popleft()
                latest = max(latest, now - due)
                moved += 1
                try:
                    os.write(other[device], packet)
                except OSError:
                    pass  # the other side is going down
    os.write(report, json.dumps({"moved": moved, "dropped": dropped, "latest_ms": round(1e3 * latest, 2)}).encode())
    os._exit(0)
