"""Checks replies of a control plane against what its OpenAPI document says of them.

in:  the document. out: what is wrong, as sentences. owns: nothing. The subset of JSON Schema that docs/openapi uses: a
keyword that is not known here is an error, so that nothing is passed over silently."""
import re

KNOWN = {"$ref", "type", "required", "properties", "additionalProperties", "items", "enum", "const", "minimum", "maximum", "minLength",
         "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "pattern", "oneOf", "anyOf", "allOf", "description",
         "default", "example", "examples", "format", "title", "deprecated", "uniqueItems", "propertyNames", "exclusiveMinimum", "readOnly"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def resolve(document, value):
    while isinstance(value, dict) and "$ref" in value and len(value) <= 2:
        at = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            at = at[part.replace("~1", "/").replace("~0", "~")]
        value = at
    return value


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def limits(schema, value, at):
    sizes = (("minLength", "maxLength", str), ("minItems", "maxItems", list), ("minProperties", "maxProperties", dict))
    for low, high, kind in sizes:
        if isinstance(value, kind) and not schema.get(low, 0) <= len(value) <= schema.get(high, len(value)):
            yield f"{at}: {len(value)} is not within {low} and {high}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield f"{at}: {value} is not within minimum and maximum"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"


def members(document, schema, value, at):
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{at}: {name} is missing"
    for name, item in value.items():
        more = properties.get(name, schema.get("additionalProperties", True))
        if more is False:
            yield f"{at}: {name} is not described"
        elif more is not True:
            yield from wrong(document, more, item, f"{at}.{name}")


def wrong(document, schema, value, at="reply"):
    """Sentences about what in `value` is not as `schema` says."""
    if schema is True:
        return
    for keyword in set(schema) - KNOWN:
        yield f"{at}: the schema's keyword {keyword} is not known to this test"
    if "$ref" in schema:
        yield from wrong(document, resolve(document, {"$ref": schema["$ref"]}), value, at)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_type(value, k) for k in kinds):
        yield f"{at}: {str(value)[:60]!r} is no {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    yield from limits(schema, value, at)
    if isinstance(value, dict):
        yield from members(document, schema, value, at)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from wrong(document, schema["items"], item, f"{at}[{i}]")
    for one in schema.get("allOf", []):
        yield from wrong(document, one, value, at)
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            found = [list(wrong(document, one, value, at)) for one in schema[choice]]
            if all(found):
                yield f"{at}: fits none of {choice}: {min(found, key=len)[:3]}"


def template_of(document, method, path):
    """The document's path for a request's, fixed ones first; None: it has none."""
    path = path.split("?")[0]
    for template in sorted(document["paths"], key=lambda t: t.count("{")):
        pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template))
        pattern = re.sub(r"\[\^/\]\+$", ".+", pattern) if template.endswith("/{path}") else pattern  # all the rest
        if re.fullmatch(pattern, path) and method.lower() in document["paths"][template]:
            return template
    return None


def reply_wrong(document, method, path, status, body, headers):
    """What is wrong with a reply: its status is not documented, or its body is not as the schema says."""
    template = template_of(document, "GET" if method == "HEAD" else method, path)
    if template is None:
        return [] if status in (404, 405, 400) else [f"{method} {path}: {status}, but the path is not described"]
    operation = document["paths"][template]["get" if method == "HEAD" else method.lower()]
    responses = operation["responses"]
    response = responses.get(str(status), responses.get(f"{status // 100}XX", responses.get("default")))
    if response is None:
        return [f"{method} {template}: status {status} is not described: {str(body)[:200]}"]
    content = resolve(document, response).get("content", {})
    kind = headers.get("content-type", "").split(";")[0]
    if not content or method == "HEAD":
        return [] if method == "HEAD" or body in (b"", None, "") else [f"{method} {template} {status}: has a body, and none is described"]
    if kind not in content:
        return [f"{method} {template} {status}: comes as {kind!r}, described is {list(content)}"]
    if kind != "application/json":
        return []
    return [f"{method} {template} {status}: {w}" for w in wrong(document, content[kind].get("schema", {}), body)]
