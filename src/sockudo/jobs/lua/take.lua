-- Now, end of the lease, token; keys.
local taken = {}
for i = 4, #ARGV do
  local ref = redis.call('HGET', keys_key(''), ARGV[i])
  if ref then
    local known = redis.call('HMGET', message_key(ref), 'stage', 'app', 'order')
    if is_free(known[1], ref, ARGV[1]) then
      taken[#taken + 1] = leased(known[1], known[2], ref, known[3], ARGV[3], ARGV[1], ARGV[2])
    end
  end
end
return taken
