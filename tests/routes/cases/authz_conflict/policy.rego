package t

answer := true if input.attributes.request.http.method == "GET"

answer := false if input.parsed_path[0] == "x"
