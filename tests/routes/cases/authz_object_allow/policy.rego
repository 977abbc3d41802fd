package t

answer.allowed if "ann" == input.attributes.request.http.headers["x-user"]

answer.headers["x-role"] := data.roles[input.attributes.request.http.headers["x-user"]]

answer.headers["x-path"] := concat(".", input.parsed_path)
