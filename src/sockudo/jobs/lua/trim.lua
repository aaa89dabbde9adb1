-- Stage, how many are kept, limit; all stages.
local stage, keep, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local over = math.min(redis.call('ZCARD', order_key(stage)) - keep, limit)
if over <= 0 then return 0 end
for _, ref in ipairs(redis.call('ZRANGE', order_key(stage), 0, over - 1)) do
  local known = redis.call('HMGET', message_key(ref), 'app', 'key')
  remove(stage, known[1], '', known[2], ref)
  local some = false
  for i = 4, #ARGV do some = some or redis.call('EXISTS', listed_key(ARGV[i], known[1])) == 1 end
  if not some then redis.call('SREM', SHARES, known[1]) end
end
return over
