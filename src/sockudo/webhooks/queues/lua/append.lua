-- For each delivery: id, lane, body, events, trace, created, due.
for i = 1, #ARGV, 7 do
  local id, lane = ARGV[i], ARGV[i + 1]
  if redis.call('EXISTS', delivery_key(id)) == 0 then
    redis.call('HSET', delivery_key(id), 'lane', lane, 'body', ARGV[i + 2], 'events', ARGV[i + 3],
      'trace', ARGV[i + 4], 'created_at_ms', ARGV[i + 5], 'due_at_ms', ARGV[i + 6], 'attempts', 0)
    wait(id, lane)
  end
end
