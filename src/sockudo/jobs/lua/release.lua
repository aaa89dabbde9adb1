-- When they are due, leases.
for _, each in ipairs(having(2, #ARGV)) do
  if each and redis.call('SREM', held_key(each.stage), each.ref) == 1 then
    redis.call('HSET', message_key(each.ref), 'due_at_ms', ARGV[1])
    redis.call('HDEL', message_key(each.ref), 'token', 'leased_at_ms')
    redis.call('HINCRBY', message_key(each.ref), 'attempt', -1)
    place(each.stage, each.app, each.ref, later(each.enqueued, ARGV[1]), each.order)
  end
end
