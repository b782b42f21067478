-- Sends the bodies of a file in turn (one a line) and prints one line of JSON at the end.
local bodies, at, headers = {}, 0, { ["Content-Type"] = "application/json" }

function init(args)
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
end

function request()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"duration_us":%d,"p50_us":%.1f,"errors":%d}\n', summary.requests,
    summary.duration, latency:percentile(50), e.connect + e.read + e.write + e.status + e.timeout))
end
