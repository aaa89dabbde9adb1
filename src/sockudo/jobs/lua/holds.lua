-- Stages and keys, one after the other.
local has = {}
for i = 1, #ARGV, 2 do has[#has + 1] = redis.call('HEXISTS', keys_key(ARGV[i]), ARGV[i + 1]) end
return has
