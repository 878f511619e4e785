-- One line that the bench can read, behind wrk's own report.
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\n",
    summary.requests, e.connect, e.read, e.write, e.status, e.timeout))
end
