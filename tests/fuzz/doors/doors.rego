package t

import rego.v1

default allow := false

allow if input.attributes.request.http.headers["x-key"] == "sesame"

allow if input.key == "sesame"

decision := {"allowed": allow, "headers": input.headers, "body": input.body, "http_status": input.status, "dynamic_metadata": input}

echo := input

list := [x | some x in input.list]
