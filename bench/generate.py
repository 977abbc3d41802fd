"""Writes the data and inputs of the bench's policies, the same on every run.

in:  the folder to write to.  out: p1/ and p2/ with data.json and inputs.  owns: nothing.
P1: three roles, an input of about 260 bytes of which six fields are read.
P2: 100 users with 5 roles each, 100 roles with 5 grants each; `hit` is allowed by the last grant of the user's last
role, `miss` by none.
"""
import json
import os
import sys


def write(folder, name, value):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, separators=(",", ":"))


def p1(folder):
    grants = {
        "administrator": ["view:report", "edit:report", "remove:report", "manage:members"],
        "editor": ["view:report", "edit:report"],
        "reader": ["view:report"],
    }
    settings = {"calls_per_minute": 1200, "networks": ["10.20.0.0/16"], "features": ["export", "audit"]}
    write(folder, "data.json", {"roles": {r: {"grants": g} for r, g in grants.items()}, "settings": settings})
    headers = {"host": "api.example.org", "user-agent": "client/4", "authorization": "Bearer 012345"}
    write(folder, "input.json", {
        "user": {"id": "u7", "tenant_id": "acme", "role": "editor"},
        "action": "view",
        "resource": {"type": "report", "id": "r1"},
        "request": {"method": "GET", "path": "/v1/reports/r1", "headers": headers},
    })


def p2(folder):
    actions = ["view", "edit", "remove", "list", "approve"]
    types = ["report", "invoice", "order", "member", "chart", "board", "ticket", "page", "file", "budget"]
    grants = {
        f"role_{r:03d}": [{"action": actions[(2 * r + g) % 5], "type": f"{types[(3 * r + 7 * g) % 10]}_{(5 * r + g) % 50:02d}"}
                          for g in range(5)]
        for r in range(100)
    }
    members = {f"user_{u:03d}": [f"role_{(7 * u + 13 * k) % 100:03d}" for k in range(5)] for u in range(100)}
    write(folder, "data.json", {"members": members, "grants": grants})
    last = grants[members["user_042"][-1]][-1]
    write(folder, "input.json", {"user": "user_042", **last})
    write(folder, "miss.json", {"user": "user_042", "action": "view", "type": "nothing_99"})


p1(os.path.join(sys.argv[1], "p1"))
p2(os.path.join(sys.argv[1], "p2"))
