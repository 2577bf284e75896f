"""The administrator's part of starting the cloud, over HTTP: the openstack command takes seconds for each call.

admin.py users        users, roles, services and endpoints
admin.py flavors      the flavors of the tests
admin.py ready HOST   exits 0 if the host can get servers

Ports and passwords come from the environment, see configuration.sh.
"""

import json
import os
import sys
import urllib.error
import urllib.request

ENV = os.environ
IDENTITY = ENV["identity_url"]
COMPUTE = f"http://127.0.0.1:{ENV['compute_port']}/v2.1"
PLACEMENT = f"http://127.0.0.1:{ENV['placement_port']}"
SERVICES = {
    "image": ("glance", f"http://127.0.0.1:{ENV['image_port']}"),
    "placement": ("placement", PLACEMENT),
    "compute": ("nova", COMPUTE),
    "network": ("neutron-stub", f"http://127.0.0.1:{ENV['network_port']}"),
}
# MiB; the second one fits on no host.
FLAVORS = {"cow.tiny": 128, "cow.huge": 16_000_000}


class Admin:
    def __init__(self):
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": ENV["admin_password"]}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": {"name": "admin", "domain": domain}}}
        self.token = None
        headers, _ = self._send("POST", f"{IDENTITY}/auth/tokens", {"auth": auth})
        self.token = headers["X-Subject-Token"]

    def get(self, url, version=None):
        return self._send("GET", url, version=version)[1]

    def post(self, url, body):
        return self._send("POST", url, body)[1]

    def put(self, url):
        self._send("PUT", url)

    def _send(self, method, url, body=None, version=None):
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["X-Auth-Token"] = self.token
        if version is not None:
            headers["OpenStack-API-Version"] = version
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as reply:
            text = reply.read()
            return reply.headers, json.loads(text) if text else None


def users(admin):
    roles = {role["name"]: role["id"] for role in admin.get(f"{IDENTITY}/roles")["roles"]}
    if "service" not in roles:
        roles["service"] = admin.post(f"{IDENTITY}/roles", {"role": {"name": "service"}})["role"]["id"]
    for name, password, granted in (("service", "service_password", ("admin", "service")), ("nightly", "user_password", ("member",))):
        project = admin.post(f"{IDENTITY}/projects", {"project": {"name": name, "domain_id": "default"}})["project"]["id"]
        body = {"user": {"name": name, "password": ENV[password], "domain_id": "default"}}
        user = admin.post(f"{IDENTITY}/users", body)["user"]["id"]
        for role in granted:
            admin.put(f"{IDENTITY}/projects/{project}/users/{user}/roles/{roles[role]}")
    for kind, (name, url) in SERVICES.items():
        service = admin.post(f"{IDENTITY}/services", {"service": {"type": kind, "name": name}})["service"]["id"]
        for interface in ("public", "internal", "admin"):
            body = {"endpoint": {"service_id": service, "interface": interface, "url": url, "region_id": "RegionOne"}}
            admin.post(f"{IDENTITY}/endpoints", body)


def flavors(admin):
    for name, ram in FLAVORS.items():
        try:
            # With a disk of 0, users who are not administrators may not create servers.
            admin.post(f"{COMPUTE}/flavors", {"flavor": {"name": name, "ram": ram, "vcpus": 1, "disk": 1}})
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise


def is_ready(admin, host):
    hypervisors = admin.get(f"{COMPUTE}/os-hypervisors/detail", "compute 2.88")["hypervisors"]
    usable = [one["id"] for one in hypervisors if one["service"]["host"] == host and one["state"] == "up" and one["status"] == "enabled"]
    # nova-compute is up before Placement knows its size.
    candidates = admin.get(f"{PLACEMENT}/allocation_candidates?resources=VCPU:1,MEMORY_MB:1", "placement 1.39")
    return any(one in candidates["provider_summaries"] for one in usable)


match sys.argv[1:]:
    case ["users"]:
        users(Admin())
    case ["flavors"]:
        flavors(Admin())
    case ["ready", host]:
        sys.exit(0 if is_ready(Admin(), host) else 1)
    case _:
        sys.exit(__doc__)
