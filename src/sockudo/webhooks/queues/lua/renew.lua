-- End of the lease; a lane and its token each.
for i = 2, #ARGV, 2 do
  local lane = ARGV[i]
  if redis.call('HGET', TOKENS, lane) == ARGV[i + 1] then
    local score = redis.call('ZSCORE', LEASES, lane)
    if tonumber(score) < tonumber(ARGV[1]) then redis.call('ZADD', LEASES, ARGV[1], lane) end
  end
end
