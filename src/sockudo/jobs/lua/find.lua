-- Keys. For each its number, stage, app, body, due, ordering key and alone, or nothing.
local found = {}
for i = 1, #ARGV do
  local ref = redis.call('HGET', keys_key(''), ARGV[i])
  found[i] = ref and {ref, ARGV[i],
    unpack(redis.call('HMGET', message_key(ref), 'stage', 'app', 'body', 'due_at_ms', 'order', 'kept_order', 'alone'))} or {}
end
return found
