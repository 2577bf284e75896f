"""Answers what Nova asks Neutron about servers without a network: all lists are empty, everything else does not exist.

neutron-stub.py PORT
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LISTS = {"ports", "networks", "subnets", "floatingips", "security-groups", "extensions", "routers", "agents", "quotas"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0].rstrip("/").removesuffix(".json")
        version, _, name = path.removeprefix("/").partition("/")
        if version == "":
            url = f"http://{self.headers.get('Host')}/v2.0/"
            self.answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": url}]}]})
        elif name in LISTS:
            self.answer(200, {name.replace("-", "_"): []})
        else:
            self.refuse()

    def refuse(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(404, {"NeutronError": {"type": "NotFound", "message": f"no {self.path}", "detail": ""}})

    do_POST = do_PUT = do_DELETE = refuse

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
