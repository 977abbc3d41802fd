package t

answer := {"all": data.values, "sum": sum(data.values.list), "same": data.values.a == data.values.b, "price": data.values.price * input.n}
