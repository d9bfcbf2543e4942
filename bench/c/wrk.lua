-- What wrk has counted as one line of JSON, in the words of the generator.
done = function(summary, latency, requests)
   local e, seconds = summary.errors, summary.duration / 1e6
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "rps": %.1f, "p50_us": %d, "p99_us": %d, ' ..
      '"p999_us": %d, "max_us": %d, "mean_us": %.3f, "errors": %d, "mismatches": %d, ' ..
      '"unanswered": %d}\n',
      summary.requests, seconds, summary.requests / seconds, latency:percentile(50),
      latency:percentile(99), latency:percentile(99.9), latency.max, latency.mean,
      e.connect + e.read + e.write, e.status, e.timeout))
end
