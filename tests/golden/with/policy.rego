package t

allow if input.user == "ann"

other := value if value := allow with input.user as "ann"
