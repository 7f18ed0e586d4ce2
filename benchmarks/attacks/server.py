"""Attacks on the review server over sockets of 127.0.0.1."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from attacks.commands import Command, patience, preload
from attacks.lab import Lab, Outcome

COUNTS = {
    "host": 70, "origin": 60, "path": 180, "method": 20, "size": 30, "JSON": 110, "CSV": 80, "bytes": 60, "token": 30,
    "slow": 3, "idle": 2, "many": 3,
}  # fmt: skip
"""Number of attacks by kind; those of `slow`, `idle` and `many` use many connections."""
ANSWER_S = 5.0
TOKEN = "0123456789abcdef-token"
HELD = 20
"""Connections that may be open when the idle ones have been closed."""
GROWTH_MB = 300.0
"""Largest growth of the server's memory, whatever is sent."""
SECRETS = ("root:x:0:0", "labels_dir", '"format": "heartmend-run"', "[project]", "import annotations")
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Target:
    """A running server.

    Attributes:
        command: the process.
        port: its port.
        case: id of a case.
        entry: a valid entry of a request that writes a decision.
        decisions: the decisions at the start, which no attack may change.
        memory: its memory at the start in bytes.
    """

    command: Command
    port: int
    case: str = ""
    entry: dict[str, Any] | None = None
    decisions: bytes = b""
    memory: int = 0

    @property
    def host(self) -> str:
        """Right Host header."""
        return f"127.0.0.1:{self.port}"


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return sum(_counts(lab).values())


def _ranges(lab: Lab) -> Iterator[tuple[str, int, int]]:
    """First job and the one after the last of every kind."""
    first = 0
    for kind, count in _counts(lab).items():
        yield kind, first, first + count
        first += count


def _counts(lab: Lab) -> dict[str, int]:
    # Those that wait for the server's limits need 10 s each.
    least = {"slow": int(lab.scale >= 0.1), "idle": int(lab.scale >= 0.1)}
    return {kind: max(round(count * lab.scale), least.get(kind, 1)) for kind, count in COUNTS.items()}


@contextmanager
def opened(lab: Lab) -> Iterator[tuple[Target, Target]]:
    """Start a server without and a server with a token, each on a copy of the undisturbed run."""
    preload("heartmend.cli.review", "heartmend.review.app", "heartmend.review.serve", "heartmend.review.case_cache")
    with lab.scratch() as folder, ExitStack() as stack:
        (folder / "secret").write_text("secret")
        targets = []
        for name, more in (("open", ()), ("token", ("--token", TOKEN))):
            out = folder / name
            shutil.copytree(lab.undisturbed, out)
            targets.append(stack.enter_context(served(out, *more)))
        first, second = targets
        run = json.loads(send(first, get(first, "/api/run"))[2])
        first.case = run["cases"][0]["case"]
        summary = next(c for c in run["cases"] if c["changed_structures"])
        first.entry = {
            "case": summary["case"], "structure": summary["changed_structures"][-1], "choice": "reject", "note": "",
            "stamp": summary["stamp"], "follows": 0,
        }  # fmt: skip
        first.decisions = send(first, get(first, "/api/decisions"))[2]
        second.case = first.case
        yield first, second


@contextmanager
def served(out: Path, *more: str) -> Iterator[Target]:
    """Start `heartmend review` of a run; at the end it must stop by SIGTERM."""
    words = ["review", out, "--no-browser", "--port", 0, "--by", "Anna", "--workers", 1, *more]
    command = Command(words, out.with_name(f"{out.name}.log"))
    deadline, found = time.monotonic() + 120 * patience(), None
    while found is None:
        text = command.log.read_text() if command.log.exists() else ""
        found = re.search(r"cases? at http://127\.0\.0\.1:(\d+)/", text)
        if found is None and (command.has_ended() or time.monotonic() > deadline):
            raise SystemExit(f"the server did not start: {text}")
        time.sleep(0.05)
    target = Target(command, int(found[1]))
    target.memory = psutil.Process(command.pid).memory_info().rss
    try:
        yield target
    finally:
        with suppress(ProcessLookupError):
            os.kill(command.pid, signal.SIGTERM)
        ended = command.wait(limit_s=60)
        if ended.status not in (0, 130, 143) or "Traceback" in ended.text:
            raise SystemExit(f"the server ended with {ended.status}: {ended.text[-2000:]}")


def attack(lab: Lab, targets: tuple[Target, Target], job: int, rng: random.Random) -> Iterator[Outcome]:
    """Send one request, or many connections, and check answer, decisions and memory of the server."""
    kind, job = next((k, job - first) for k, first, last in _ranges(lab) if first <= job < last)
    target = targets[kind == "token"]
    started = time.monotonic()
    name, problem = KINDS[kind](target, job, rng)
    seconds = time.monotonic() - started
    problem = problem or _damage(targets[0])
    memory = psutil.Process(target.command.pid).memory_info().rss / 1e6
    if not problem and memory - target.memory / 1e6 > GROWTH_MB:
        problem = f"the memory of the server grew from {target.memory / 1e6:.0f} to {memory:.0f} MB"
    if not problem and kind not in ("slow", "idle", "many") and seconds > ANSWER_S * 6 * patience():
        problem = f"answered after {seconds:.1f} s"
    yield Outcome(f"{kind}: {name}", problem, round(seconds, 3), round(memory, 1))


def _damage(target: Target) -> str:
    """Whether the server stopped, or its decisions have changed."""
    try:
        status, _, body = send(target, get(target, "/api/decisions"))
    except OSError as error:
        return f"the server does not answer any more: {error}"
    if status != 200 or body != target.decisions:
        return "the decisions have changed"
    return "the server printed a traceback" if "Traceback" in target.command.log.read_text() else ""


def get(target: Target, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> bytes:
    """Bytes of a request without a body."""
    return request(target, method, path, headers)


def request(
    target: Target, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """Bytes of a request; a header with the value "" is left out."""
    given = {"host": target.host, "connection": "close"} | (headers or {})
    if body is not None and "content-length" not in given:
        given["content-length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items() if v != "")]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + (body or b"")


def send(target: Target, data: bytes, limit_s: float = 30.0) -> Answer:
    """Send bytes and read the answer; status 0 if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=limit_s * patience()) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        raw = bytearray()
        with suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 16):
                raw += chunk
    head, _, body = bytes(raw).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), headers, body


def _judge(answer: Answer, allowed: tuple[int, ...]) -> str:
    status, headers, body = answer
    text = body[: 1 << 20].decode("utf-8", "replace")
    if status not in allowed:
        return f"status {status}, expected {allowed}: {text[:200]}"
    if found := next((secret for secret in SECRETS if secret in text), None):
        return f"the answer contains {found!r}"
    if "access-control-allow-origin" in headers:
        return "another origin may read the answer"
    if 200 <= status < 300 and "content-security-policy" not in headers:
        return "no content security policy"
    return ""


def _host(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    port = target.port
    hosts = (
        "evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"localhost.evil.example:{port}",
        f"127.0.0.1:{port}@evil.example", f"evil.example:{port}#127.0.0.1:{port}", f"127.0.0.1:{port + 1}", "127.0.0.1",
        "localhost", f"127.1:{port}", f"0.0.0.0:{port}", f"2130706433:{port}", f"0x7f000001:{port}", f"[::1]:{port}",
        f"[::ffff:127.0.0.1]:{port}", f"localhost.:{port}", f"127.0.0.1:{port}.", f"127.0.0.1:0{port}", "x" * 5000, "*",
        f"127.0.0.1:{port}, evil.example", f"127.0.0.1:{port} evil.example", f"ⓛocalhost:{port}",
        f"127.0.0.1%00:{port}",
        f"user:pass@127.0.0.1:{port}", f"127.0.0.2:{port}", f"rebind.network:{port}", f"127.0.0.1:{port}\tx",
    )  # fmt: skip
    paths = ("/", "/api/run", "/api/decisions", f"/api/cases/{target.case}/maps", "/static/page.css")
    if turn % 10 == 9:
        name, headers = "two or none", f"host: evil.example\r\nhost: {target.host}\r\n" if turn % 20 == 9 else ""
        data = f"GET {rng.choice(paths)} HTTP/1.1\r\n{headers}connection: close\r\n\r\n".encode()
        return name, _judge(send(target, data), (400, 421))
    host = hosts[turn % len(hosts)]
    more = {} if turn < len(hosts) else {"x-forwarded-host": target.host, "forwarded": f"host={target.host}"}
    path = rng.choice(paths)
    return f"{host[:40]} {path}", _judge(send(target, get(target, path, {"host": host, **more})), (400, 421))


def _origin(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    host = target.host
    origins = (
        "http://evil.example", "null", f"https://{host}", f"http://{host}.evil.example", f"http://{host}/",
        f"http://evil.example/http://{host}", f"http://localhost:{target.port + 1}", "file://", f"http://{host}@evil.example",
        f"http://user@{host}", f" http://{host} x", "chrome-extension://abc", "http://127.0.0.1", f"http://{host}, http://x",
    )  # fmt: skip
    types = (
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/html",
        "application/json-seq", "text/plain; application/json", "application/jsonp",
    )  # fmt: skip
    path = ("/api/decisions", "/api/undo", "/api/decisions.csv")[turn % 3]
    body = _valid(target)
    if turn % 2:
        kind = types[turn // 2 % len(types)]
        if path.endswith("csv"):
            body = b"case,structure\n"
        data = request(target, "POST", path, {"content-type": kind, "origin": rng.choice(("", f"http://{host}"))}, body)
        return f"content type {kind}", _judge(send(target, data), (415,))
    kind = "text/csv" if path.endswith("csv") else "application/json"
    origin = origins[turn // 2 % len(origins)]
    data = request(target, "POST", path, {"content-type": kind, "origin": origin}, body)
    return origin, _judge(send(target, data), (403,))


def _valid(target: Target) -> bytes:
    return json.dumps({"reviewer": "Eve", "entries": [target.entry]}).encode()


def _path(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    ups = ("..", "%2e%2e", "%252e%252e", "..%00", "..;", "%c0%ae%c0%ae", ".%2e", "....", "%uff0e%uff0e", "\\..")
    slashes = ("/", "%2f", "%5c", "\\", "%252f", "//", "/./", "%c0%af")
    bases = ("/static/", "/api/cases/", f"/api/cases/{target.case}/", "/", "/static/lib/", "/api/")
    ends = (
        "etc/passwd", "run.json", "run/run.json", "app.py", "pyproject.toml", "proc/self/environ", "decisions.sqlite",
        "secret", "labels/001.nii.gz", "run/review/001.maps.gz", "maps", "image",
    )  # fmt: skip
    all_paths = list(itertools.product(bases, ups, slashes, ends))
    base, up, slash, end = rng.choice(all_paths)
    path = base + (up + slash) * rng.choice((1, 2, 3, 8)) + end.replace("/", slash)
    special = (
        "//etc/passwd", "/static//etc/passwd", "/static/%00", "/api/cases/%00/maps", f"/api/cases/{'x' * 9000}/maps",
        "http://evil.example/", "/static/", "/static", "/api/cases/", "/api/cases//maps", "/?token=x", "/%", "/%zz",
        "*",
        f"/api/cases/{target.case}%00/maps", f"/api/cases/{target.case}%20/maps", f"/api/cases/{target.case}/maps%2f..",
        "/static/file:%2f%2f%2fetc%2fpasswd", "/api/decisions?since=-1", "/api/decisions?since=1e9",
        "/api/decisions?since=9999999999999999999", "/api/decisions?since=%F0%9F%92%A9", "/api/decisions?since=²",
    )  # fmt: skip
    if turn % 4 == 3:
        path = special[turn // 4 % len(special)]
    # The folder of the static files redirects to itself with a slash.
    allowed = {"/?token=x": (200,), "/static": (307, 404)}.get(path, (400, 404, 405, 421))
    answer = send(target, get(target, path))
    if end in ("maps", "image") and answer[0] == 200:
        # A path that a client shortens to that of a case of the run.
        allowed = (200, 400, 404)
    return path[:60], _judge(answer, allowed)


def _method(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    methods = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 3000, "POST")
    method = methods[turn % len(methods)]
    path = rng.choice(("/", "/api/run", "/api/cases/1/maps", "/static/page.css"))
    answer = send(target, get(target, path, method=method))
    return method[:10], _judge(answer, (400, 404, 405))


def _size(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    kind = {"content-type": "application/json"}
    lengths = ("999999999999", "-1", "1e9", "+5", "0x10", "9" * 5000, "5, 6", " ", "٣")
    match turn % 5:
        case 0:
            length = lengths[turn // 5 % len(lengths)]
            data = request(target, "POST", "/api/decisions", {**kind, "content-length": length}, b"{}")
            return f"length {length[:20]}", _judge(send(target, data), (400, 413))
        case 1:
            data = request(target, "POST", "/api/decisions", kind, b" " * rng.choice((1_200_000, 3_000_000)))
            return "large body", _judge(send(target, data), (0, 413))
        case 2:
            data = request(target, "POST", "/api/decisions.csv", {"content-type": "text/csv"}, b"x," * 12_000_000)
            return "large table", _judge(send(target, data), (0, 413))
        case 3:
            chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
            head = request(target, "POST", "/api/decisions", {**kind, "transfer-encoding": "chunked"})
            return "endless chunks", _judge(send(target, head + chunk * 200), (0, 413))
        case _:
            many = {f"x-{n}": "y" * 100 for n in range(rng.choice((400, 5000)))}
            return "large header", _judge(send(target, get(target, "/", many)), (0, 200, 400, 431))


def _json(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    valid, entry = _valid(target).decode(), json.dumps(target.entry)
    values = (
        "null", "[]", "{}", "-1", "1e999", "NaN", "9" * 5000, "true", '""', '"\\ud800"', '"\\u0000"', f'"{"x" * 3000}"',
        '"../../x"', "[" * 20_000, '"open; drop table decisions"', "1.5", str(2**63), str(2**64),
    )  # fmt: skip
    wholes = (
        "", "{", "[]", "null", "1", "[" * 100_000, '{"a":' * 40_000, valid + valid, "\ufeff" + valid, valid[:-1],
        valid.replace('"reviewer"', '"reviewer": "x", "more"'), f'{{"reviewer": "Eve", "entries": [{entry}, {entry}]}}',
        f'{{"reviewer": "Eve", "entries": [{", ".join([entry] * 301)}]}}', '{"reviewer": " ", "entries": []}',
        f'{{"reviewer": "{"E" * 81}", "entries": []}}', "'" + valid + "'", valid.replace('"', "'"),
    )  # fmt: skip
    if turn % 3 == 2:
        text = wholes[turn // 3 % len(wholes)]
        name, data = "whole", text.encode()
        if turn % 6 == 5 and turn > 2 * len(wholes):
            data = text.encode("utf-16")
    else:
        key = rng.choice(list(target.entry or ()))
        value = values[turn % len(values)]
        name, changed = f"{key} = {value[:20]}", dict(target.entry or {})
        changed[key] = "@"
        data = json.dumps({"reviewer": "Eve", "entries": [changed]}).replace('"@"', value).encode()
        if (key == "note" and value in ('""', '"../../x"', '"open; drop table decisions"')) or value == str(0):
            data += b"x"
    body = request(target, "POST", rng.choice(("/api/decisions",)), {"content-type": "application/json"}, data)
    return name, _judge(send(target, body), (400, 409, 413))


def _csv(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    entry = target.entry or {}
    heading = "case,structure,choice,note,reviewer,decided_at,stamp"
    good = f"{entry['case']},{entry['structure']},reject,,Eve,2031-01-01T00:00:00+00:00,{entry['stamp']}"
    texts = (
        "", "\n", "\0", heading + "\n" + good + "\n" + good, heading + "\n" + good.replace("reject", "x"),
        heading + "\n" + good + "\n9,LV,accept,,Eve,2031-01-01T00:00:00+00:00,x",
        heading + "\n" + good.replace(",,", f",{'n' * 200_000},"), heading + "\n" + good.replace(",,", ",\0,"),
        heading + "\r" + good.replace("reject", "y"), heading + "\n" + good.replace(",Eve", ',"E\rve'),
        heading + "\n" + "," * 500_000,
        heading + "\n" + good.replace("2031", "9999"), heading + "\n" + good.replace("2031-01-01", "2031-99-99"),
        heading + "\n" + good.replace("2031-01-01T00:00:00+00:00", "now"), heading.replace("case", "X") + "\n" + good,
        heading + ",case\n" + good + ",9", good, heading + "\n" + good[:-3] + '"', heading + '\n"' + good,
        heading + "\n" + good.replace("Eve", "E" * 81), heading + "\n" + good.replace("Eve", ""),
        heading + "\n" + (good.replace("reject", "accept") + "\n") * 50_000,
        heading + "\n../../x,LV,accept,,Eve,2031-01-01,x",
        heading + "\n" + good.replace("+00:00", "+99:99"), heading + "\n" + good.replace("2031", "0000"),
    )  # fmt: skip
    data = texts[turn % len(texts)].encode()
    if turn >= len(texts):
        match rng.randrange(3):
            case 0:
                data = b"\xff\xfe" + data
            case 1:
                # A line that is wrong, wherever it is: nothing of the table is written.
                data = (heading + "\n" + good + "\n" + rng.choice(("x", "x,y,z,,,,", '"'))).encode()
            case _:
                data = data.replace(b"\n", b"\r\n") + b"\nx"
    body = request(target, "POST", "/api/decisions.csv", {"content-type": "text/csv"}, data)
    # Status 200 is right for a table without a row; `_damage` checks that nothing was written.
    return repr(data[:20]), _judge(send(target, body), (200, 400, 413))


def _bytes(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    valid = request(target, "POST", "/api/undo", {"content-type": "application/json"}, b'{"reviewer": "Nobody"}')
    wholes = (
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 2000, b"\0" * 3000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n x: y\r\n\r\n", b"A" * 70_000,
        get(target, "/", {"upgrade": "websocket", "connection": "Upgrade"}), b"GET / HTTP/1.1\nhost: x\n\n",
        get(target, "/").replace(b"\r\n\r\n", b"\r\nx\0: y\r\n\r\n"), get(target, "/", {"expect": "100-continue"}),
        get(target, "/", {"transfer-encoding": "chunked", "content-length": "5"}) + b"0\r\n\r\n",
        get(target, "/", {"transfer-encoding": "gzip"}), get(target, "/") * 3,
        get(target, "/", {"range": "bytes=0-0,-1"}),
    )  # fmt: skip
    data = bytearray(wholes[turn] if turn < len(wholes) else valid)
    if turn >= len(wholes):
        for _ in range(rng.choice((1, 3, 9))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
    answer = send(target, bytes(data))
    return repr(bytes(data[:20])), _judge(answer, (0, *range(200, 500), 501, 505))


def _token(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    near = (
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        "",
        TOKEN[::-1],
        "%00" + TOKEN,
        TOKEN * 100,
        "é" * 22,
        "\udcff",
        "*",
    )
    token = near[turn % len(near)]
    path = rng.choice(("/", "/api/run", "/api/decisions", f"/api/cases/{target.case}/maps", "/static/page.css"))
    headers: dict[str, str] = {}
    match turn // len(near) % 3:
        case 0:
            path += f"?token={token.replace(' ', '')}"
        case 1:
            headers["authorization"] = f"Bearer {token}" if token else "Basic x"
        case _:
            headers["cookie"] = f"heartmend_token={token}; heartmend_token="
    answer = send(
        target,
        get(target, path, headers) if "\udcff" not in path else get(target, path.replace("\udcff", "%ff"), headers),
    )
    if TOKEN in target.command.log.read_text().replace(f"token={TOKEN}", "", 1):
        return "log", "the token is in the log"
    right = send(target, get(target, "/api/run", {"authorization": f"Bearer {TOKEN}"}))[0]
    return token[:20], _judge(answer, (400, 401)) or ("" if right == 200 else f"the right token has status {right}")


def _slow(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    """Connections that send one byte each second, in the header or in the body, until the server closes them."""
    head = get(target, "/", {"x": "y" * 4000})
    body = request(target, "POST", "/api/decisions", {"content-type": "application/json"}, b" " * 5000)
    texts = {0: (head,), 1: (body,), 2: (head, body)}[turn % 3]
    start = body.index(b"\r\n\r\n") + 4
    connections = []
    for n in range(20):
        text = texts[n % len(texts)]
        connection = socket.create_connection(("127.0.0.1", target.port), timeout=5)
        at = start if text is body else 0
        connection.sendall(text[:at])
        connections.append([connection, text, at])
    limit_s, problem = 40 * patience(), ""
    deadline = time.monotonic() + limit_s
    while connections and time.monotonic() < deadline:
        for entry in list(connections):
            try:
                entry[0].sendall(entry[1][entry[2] : entry[2] + 1])
                entry[2] += 1
            except OSError:
                entry[0].close()
                connections.remove(entry)
        asked = time.monotonic()
        if send(target, get(target, "/api/run"))[0] != 200:
            problem = "other requests are not answered"
        elif time.monotonic() - asked > 2 * ANSWER_S * patience():
            problem = "other requests wait"
        time.sleep(0.5)
    for entry in connections:
        entry[0].close()
    return f"{20} connections", problem or (f"{len(connections)} are open after {limit_s:.0f} s" if connections else "")


def _idle(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    """Nine hundred connections that send nothing."""
    open_connections = []
    try:
        for _ in range(900):
            with suppress(OSError):
                open_connections.append(socket.create_connection(("127.0.0.1", target.port), timeout=2))
        status = send(target, get(target, "/api/run"))[0]
        held, limit_s = 0, 12 * patience()
        deadline = time.monotonic() + limit_s
        while turn % 2 == 0:
            held = len(psutil.Process(target.command.pid).net_connections("tcp"))
            if held <= HELD or time.monotonic() > deadline:
                break
            time.sleep(1)
    finally:
        for connection in open_connections:
            connection.close()
    problem = "" if status == 200 else f"a request beside them has status {status}"
    return "900 connections", problem or (f"{held} are open after {limit_s:.0f} s" if held > HELD else "")


def _many(target: Target, turn: int, rng: random.Random) -> tuple[str, str]:
    """Many requests at once for the largest answers; some clients do not read the answer."""
    path = ("maps", "surfaces", "image")[turn % 3]
    statuses: list[int] = []

    def fetch() -> None:
        with suppress(OSError):
            statuses.append(send(target, get(target, f"/api/cases/{target.case}/{path}"), 60)[0])

    threads = [threading.Thread(target=fetch) for _ in range(200)]
    for thread in threads:
        thread.start()
    lazy = []
    for _ in range(50):
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", target.port), timeout=5)
            connection.sendall(get(target, f"/api/cases/{target.case}/{path}"))
            lazy.append(connection)
    for thread in threads:
        thread.join()
    for connection in lazy:
        connection.close()
    bad = [status for status in statuses if status not in (200, 404, 500, 503)]
    expected = 500 if path == "image" else 200
    good = sum(status in (200, expected) for status in statuses)
    return f"200 requests for {path}", f"statuses {set(bad)}" if bad else "" if good else "none was answered"


KINDS: dict[str, Callable[[Target, int, random.Random], tuple[str, str]]] = {
    "host": _host, "origin": _origin, "path": _path, "method": _method, "size": _size, "JSON": _json, "CSV": _csv,
    "bytes": _bytes, "token": _token, "slow": _slow, "idle": _idle, "many": _many,
}  # fmt: skip
