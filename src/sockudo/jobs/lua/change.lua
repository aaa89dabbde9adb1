-- How many; for each: stage of the key, key, token; then for each: stage, due, 1 if it is leased alone, body, and the field
-- that keeps the ordering key.
local count = tonumber(ARGV[1])
local had = {}
local found = having(2, 1 + 3 * count)
for i, each in ipairs(found) do
  local first = 2 + 3 * count + 5 * (i - 1)
  -- It may be listed twice.
  had[i] = each and redis.call('HGET', message_key(each.ref), 'token') == ARGV[1 + 3 * i] and 1 or 0
  if had[i] == 1 then
    leave(each.stage, each.app, each.ref, each.order)
    redis.call('HSET', message_key(each.ref), 'stage', ARGV[first], 'due_at_ms', ARGV[first + 1],
      'alone', ARGV[first + 2], 'body', ARGV[first + 3])
    local order = each.order or redis.call('HGET', message_key(each.ref), 'kept_order')
    redis.call('HDEL', message_key(each.ref), 'token', 'leased_at_ms', 'order', 'kept_order')
    if order then redis.call('HSET', message_key(each.ref), ARGV[first + 4], order) end
    local ready = later(each.enqueued, ARGV[first + 1])
    enter(ARGV[first], each.app, each.ref, ARGV[first + 4] == 'order' and order, each.enqueued, ready)
  end
end
return had
