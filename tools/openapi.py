#!/usr/bin/env python3
"""Merges the fragments docs/openapi/*.json into one OpenAPI 3.1 document.

usage: tools/openapi.py OUT [FRAGMENT...]      (default: docs/openapi/*.json)

A fragment has "paths" and "components": what the routes of one kind of thing take and give. What all routes share stands
here: who may call, errors, pages. Two fragments that describe the same path and method, or name a component alike but
describe it otherwise, are an error; so is a reference that leads nowhere.
"""
import glob
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

ERROR = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string", "description": "One word for programs: not_found, changed_meanwhile …"},
        "message": {"type": "string", "description": "A sentence for people."},
        "errors": {"type": "array", "description": "What is wrong in particular, as with Rego that does not compile.",
                   "items": {"$ref": "#/components/schemas/ErrorDetail"}},
    },
    "additionalProperties": False,
}
DETAIL = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "location": {
            "type": "object",
            "properties": {"file": {"type": "string"}, "row": {"type": "integer"}, "col": {"type": "integer"}},
        },
    },
}


def problem(description):
    return {"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


SHARED = {
    "schemas": {"Error": ERROR, "ErrorDetail": DETAIL,
                "Time": {"type": ["string", "null"], "description": "UTC, as 2026-11-29T06:08:50.123Z; null: never."}},
    "parameters": {
        "limit": {"name": "limit", "in": "query", "description": "Items of a page.",
                  "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
        "after": {"name": "after", "in": "query", "description": "`next` of the page before.", "schema": {"type": "string"}},
        "idempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "A request that comes again with its key within 24 hours is answered as the first one was, and changes nothing.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255}},
        "ifMatch": {"name": "If-Match", "in": "header",
                    "description": "The ETag that was read: if somebody else changed it meanwhile, the answer is 412.",
                    "schema": {"type": "string"}},
    },
    "responses": {
        "Error": problem("What is wrong."),
        "BadRequest": problem("The path, a parameter or the body is not what it has to be."),
        "Unauthorized": problem("No token, or one that opens nothing (any more)."),
        "Forbidden": problem("The token's role or scopes do not allow this."),
        "NotFound": problem("There is no such thing."),
        "Conflict": problem("It collides with what is there, or was done already."),
        "PreconditionFailed": problem("Somebody changed it meanwhile: read it again."),
        "PreconditionRequired": problem("This needs If-Match."),
        "TooLarge": problem("The body is too large."),
        "UnsupportedMediaType": problem("The body has to be application/json."),
        "Unprocessable": problem("Well-formed, and yet wrong: see errors."),
        "TooMany": problem("Too many; Retry-After says when to try again."),
        "Unavailable": problem("The store cannot be reached, or too much is under way; Retry-After says when to try again."),
    },
    "securitySchemes": {
        "token": {"type": "http", "scheme": "bearer", "description": "POST /v1/tokens makes them."},
        "certificate": {"type": "mutualTLS", "description": "Of an edge, by the CA that --client-ca names."},
    },
}


def merge(into, more, where):
    for name, value in more.items():
        if name in into and into[name] != value:
            sys.exit(f"{where}: {name} is described already, and otherwise")
        into[name] = value


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for v in value.values():
            yield from references(v)
    elif isinstance(value, list):
        for v in value:
            yield from references(v)


def resolve(document, reference):
    at = document
    for part in reference.removeprefix("#/").split("/"):
        at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
    return at


def main():
    out, fragments = sys.argv[1], sys.argv[2:] or sorted(glob.glob(os.path.join(ROOT, "docs/openapi/*.json")))
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Regent control plane", "version": open(os.path.join(ROOT, "VERSION")).read().strip(),
                 "description": "Templates, libraries, tenants, builds, versions, releases, edges, tokens, audit log. "
                                "Errors have one form: code, message, errors with their places."},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {},
        "components": {k: dict(v) for k, v in SHARED.items()},
    }
    for path in fragments:
        try:
            with open(path, encoding="utf-8") as f:
                fragment = json.load(f)
        except ValueError as e:
            sys.exit(f"{path}: {e}")
        for route, methods in fragment.get("paths", {}).items():
            merge(document["paths"].setdefault(route, {}), methods, f"{path}: {route}")
        for kind, things in fragment.get("components", {}).items():
            merge(document["components"].setdefault(kind, {}), things, f"{path}: components.{kind}")
    for reference in references(document):
        if resolve(document, reference) is None:
            sys.exit(f"{reference} leads nowhere")
    document["paths"] = dict(sorted(document["paths"].items()))
    with open(out + ".new", "w", encoding="utf-8") as f:
        json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    os.rename(out + ".new", out)


if __name__ == "__main__":
    main()
