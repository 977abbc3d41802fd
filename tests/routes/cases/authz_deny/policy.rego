package t

default answer := false

answer if input.attributes.request.http.headers["x-user"] in data.admins
