package t

answer if input.attributes.request.http.method == "DELETE"
