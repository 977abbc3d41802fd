-- wrk: POSTs P1's input as it is, as a client of an API behind Envoy. in: INPUT, the file. out: requests.
local file = assert(io.open(os.getenv("INPUT")))
wrk.body = file:read("*a"):gsub("%s+$", "")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
