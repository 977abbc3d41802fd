package t

checks["all positive"] if every n in input.numbers { n > 0 }

checks["by index"] if every i, n in input.numbers { n > i }

checks["empty holds"] if every _ in [] { false }

checks["object"] if every k, v in input.object {
	startswith(k, "x")
	is_number(v)
}

checks["nested"] if {
	every row in input.rows {
		every cell in row { cell in input.numbers }
	}
}

checks["not"] if not every_small

every_small if every n in input.numbers { n < 3 }

answer := checks
