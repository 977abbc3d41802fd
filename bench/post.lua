-- wrk: POSTs P1's input wrapped as OPA's REST API takes it. in: INPUT, the file. out: requests.
local file = assert(io.open(os.getenv("INPUT")))
local input = file:read("*a"):gsub("%s+$", "")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Tenant-Id"] = "acme"
wrk.body = '{"input":' .. input .. "}"
