"""A small stand-in for Ray, for tests of what goes wrong on its nodes: it joins, answers, and fails when it is told to.

It takes Ray's own options, and stands in an environment of its own where Ray would stand. The variable STAND_IN says by
node what goes wrong there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = """
import json, os, socketserver, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import ray

class Table(socketserver.StreamRequestHandler):
    nodes = []
    def handle(self):
        words = self.rfile.readline().decode().split()
        if words[:1] == ["join"]:
            self.nodes.append(words[1])
        self.wfile.write(json.dumps(self.nodes).encode())

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass

def serve(kind, host, port, page):
    threading.Thread(target=kind((host, int(port)), page).serve_forever, daemon=True).start()

def main():
    words = sys.argv[2:]
    given = {each: words[number + 1] for number, each in enumerate(words[:-1]) if each.startswith("--")}
    name, does = given["--node-name"], json.loads(os.environ.get("STAND_IN", "{}"))
    print("starting", json.dumps(words), flush=True)
    logs = os.path.join(given["--temp-dir"], "session_latest", "logs")
    os.makedirs(logs, exist_ok=True)
    with open(os.path.join(logs, "raylet.out"), "w") as file:
        file.write("raylet of %s\\n" % name)
    tried = os.path.join(logs, "tried")
    if does.get(name) == "is late" and not os.path.exists(tried):
        open(tried, "w").close()
        raise Exception("The current node timed out during startup.")
    if does.get(name) == "fails":
        sys.exit("no room for objects")
    if "--head" in words:
        serve(socketserver.ThreadingTCPServer, given["--node-ip-address"], given["--port"], Table)
        if given["--include-dashboard"] == "true":
            serve(ThreadingHTTPServer, given["--dashboard-host"], given["--dashboard-port"], Page)
    if does.get(name) != "stays out":
        ray.asked(given.get("--address") or "%s:%s" % (given["--node-ip-address"], given["--port"]), "join " + name)
    time.sleep(0.8 if does.get(name) == "ends" else 600)
    os._exit(1)
"""
RAY = """
import json, socket

def asked(address, what):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as made:
        made.sendall(what.encode() + b"\\n")
        return json.loads(made.makefile().read())
"""
RAYLET = """
import ray

class Node:
    state = 0
    def __init__(self, name):
        self.node_name = name

class GcsClient:
    def __init__(self, address):
        self.address = address
    def get_all_node_info(self, timeout):
        return {each: Node(each) for each in ray.asked(self.address, "list")}
"""
FILES = {
    "ray/__init__.py": RAY,
    "ray/_raylet.py": RAYLET,
    "ray/exceptions.py": "class RayError(Exception): pass",
    "ray/scripts/__init__.py": "",
    "ray/scripts/scripts.py": SCRIPTS,
    "aiohttp_cors.py": "",
    "grpc.py": "",
}


def make_stand_in(folder: Path) -> Path:
    """Make an environment whose Ray is the stand-in; give the folder of its programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name, text in FILES.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    return folder / "bin"
