package t

answer := "admin" if "admin" in input.roles

answer := "dev" if "dev" in input.roles
