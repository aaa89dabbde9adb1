-- Stages.
local least = false
for _, stage in ipairs(ARGV) do
  local first = redis.call('ZRANGE', order_key(stage), 0, 0, 'WITHSCORES')[2]
  if first and (not least or tonumber(first) < tonumber(least)) then least = first end
end
return least
