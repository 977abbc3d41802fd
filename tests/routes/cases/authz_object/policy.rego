package t

import input.attributes.request.http

answer := {"allowed": false, "http_status": 401, "body": body, "headers": {"x-why": $"{http.method} {http.path}"}} if {
	not http.headers.authorization
}

body := json.marshal({"path": input.parsed_path})
