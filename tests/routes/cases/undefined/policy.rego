package t

answer if input.role == "admin"
