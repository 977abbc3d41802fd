# P1 as a filter sees it: who asks stands in headers, what for in method and path.
package tenant.authz

import input.attributes.request.http
import rego.v1

tenant := "acme"

action := {"GET": "view", "PUT": "edit", "DELETE": "remove"}[http.method]

resource := trim_suffix(input.parsed_path[1], "s")

default allow := false

granted contains grant if {
	some grant in data.roles[http.headers["x-role"]].grants
}

allow if {
	http.headers["x-tenant-id"] == tenant
	wanted := sprintf("%s:%s", [action, resource])
	wanted in granted
}

allow if {
	http.headers["x-tenant-id"] == tenant
	http.headers["x-role"] == "administrator"
}

decision := {
	"allow": allow,
	"tenant": tenant,
	"user": http.headers["x-user"],
	"role": http.headers["x-role"],
	"action": action,
	"resource": resource,
}
