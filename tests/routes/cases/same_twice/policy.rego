package t

object := {"n": 1} if input.a

object := {"n": 1.0} if input.b

number := 1.0 if input.a

number := 1 if input.b

from_input := input.n if input.a

from_input := 2 if input.b

f(x) := 1 if x

f(x) := 1.0 if x == true

partial[name] := 1 if some name in ["p", "q"]

partial[name] := 1.0 if some name in ["q", "r"]

answer := {"object": object, "number": number, "from_input": from_input, "function": f(input.a), "partial": partial}
