-- App, limit, stages.
local app, limit, gone = ARGV[1], tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  for _, ref in ipairs(redis.call('ZRANGE', lane_key(ARGV[i], app), 0, limit - gone - 1)) do
    if gone == limit then return gone end
    remove(ARGV[i], app, ARGV[i], redis.call('HGET', message_key(ref), 'key'), ref)
    gone = gone + 1
  end
end
return gone
