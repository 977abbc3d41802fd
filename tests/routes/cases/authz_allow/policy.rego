package t

import input.attributes.request.http

default answer := false

answer if {
	http.method == "GET"
	input.parsed_path[0] == "public"
}
