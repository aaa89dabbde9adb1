-- What endpoints begin with, or the endpoint; state, below which sequence, limit.
local beginning, endpoint, state, before, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local endpoints = endpoint ~= '' and {endpoint} or endpoints_of(beginning)
local states = state ~= '' and {state} or {'waiting', 'delivered', 'dead'}
local top = before ~= '' and '(' .. before or '+inf'
local found = {}
for _, each in ipairs(endpoints) do
  for _, one in ipairs(states) do
    local ids = redis.call('ZREVRANGEBYSCORE', index_key(one, each), top, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #ids, 2 do found[#found + 1] = {tonumber(ids[i + 1]), ids[i]} end
  end
end
table.sort(found, function(one, other) return one[1] > other[1] end)
local page = {}
for i = 1, math.min(limit, #found) do page[i] = {found[i][2], fields(found[i][2])} end
return page
