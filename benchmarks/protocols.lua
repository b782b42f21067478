-- Sends the whole of a file again and again and prints one line of JSON at the end: file, length of its JSON or 0.
local body, headers = "", { ["Content-Type"] = "application/json" }

function init(args)
  local file = io.open(args[1], "rb")
  body = file:read("*a")
  file:close()
  if args[2] ~= "0" then
    headers = { ["Inference-Header-Content-Length"] = args[2] }
  end
end

function request()
  return wrk.format("POST", nil, headers, body)
end

function done(summary)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"duration_us":%d,"errors":%d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
