package t

denied if not input.user in data.users
